"""What a run will do, counted by hand on the fake engine, whose tokens are words."""

from pathlib import Path
from typing import Any

import pytest

from samples import topics_config
from semievol.errors import DataError
from semievol.forecast.check import check
from semievol.forecast.work import Step
from semievol.pipeline import run
from semievol.records import Request
from semievol.run_folder.folder import RunFolder
from watched import WATCHED


def steps(folder: Path, **sections: object) -> dict[str, Step]:
    return {step.stage: step for step in check(topics_config(folder, **sections)).plan.steps}


def test_requests_and_steps_are_those_of_the_run(tmp_path: Path) -> None:
    found = steps(tmp_path, training={"num_train_epochs": 3})
    assert list(found) == ["warmup", "collaborate", "justify", "evolve", "evaluate"]
    assert (found["warmup"].requests, found["warmup"].steps) == (12, 2 * 3)  # 12 rows, 8 a step
    assert found["collaborate"].requests == 40 * 4
    assert found["justify"].requests == 40 + 40  # at most: each asked again, and each scored
    assert (found["evolve"].requests, found["evolve"].steps) == (12 + 20, 4 * 3)
    assert found["evaluate"].requests == 30 * 3


def test_tokens_are_those_of_the_prompts(tmp_path: Path) -> None:
    crew = [{"weights": "warm"}, {"weights": "warm", "examples": 2}]
    found = steps(tmp_path, collaborate={"collaborators": crew}, task={"instruction": "Topic?"})
    plain = len(["Topic?", "Text:", "one", "two", "three", "four", "five", "Answer:"])
    assert found["warmup"].tokens == 12 * plain * 2
    assert found["collaborate"].tokens == 40 * (2 * plain + 2 * plain)
    assert found["evaluate"].tokens == 30 * 3 * plain


def test_parts_that_are_off_cost_nothing(tmp_path: Path) -> None:
    assert "warmup" not in steps(tmp_path, warmup={"enabled": False})
    assert steps(tmp_path, collaborate={"enabled": False})["collaborate"].requests == 40
    assert steps(tmp_path, justify={"mode": "majority"})["justify"].requests == 40
    assert steps(tmp_path, select={"enabled": False})["evolve"].requests == 12 + 40
    assert steps(tmp_path, evolve={"include_labeled": False})["evolve"].requests == 20


def test_a_prompt_that_the_model_does_not_take_is_named_before_any_work(tmp_path: Path) -> None:
    config = topics_config(tmp_path, model={"max_length": 30})
    with pytest.raises(DataError, match=r"labeled row labeled-0: \d+ prompt tokens and 16 for the response do not fit"):
        check(config)
    assert not (tmp_path / "run").exists()


def test_what_a_service_charges_and_how_long_it_takes_is_told_by_its_prices_and_limits(tmp_path: Path) -> None:
    pytest.importorskip("openai")
    names = ("input", "output", "tuned_input", "tuned_output", "training")
    service = {
        "model": {"name": "mine"},
        "backend": {"kind": "openai", "service": {"base_url": "http://localhost:1/v1", "requests_per_minute": 60}},
        "training": {"kind": "hosted", "num_train_epochs": 3},
        "collaborate": {"max_tokens": 5},
    }
    price = {name: 1e6 * (2 if "tuned" in name else 1) for name in names}
    plan = check(topics_config(tmp_path, **service, costs={"prices": price})).plan
    found = {step.stage: step for step in plan.steps}
    assert found["warmup"].dollars == found["warmup"].tokens + found["warmup"].answers
    assert found["evolve"].dollars == found["evolve"].tokens + found["evolve"].answers
    assert found["evaluate"].answers == 90 * 64
    assert found["evaluate"].dollars == (1 + 2 + 2) / 3 * (found["evaluate"].tokens + found["evaluate"].answers)
    assert found["justify"].dollars == 2 * (found["justify"].tokens + found["justify"].answers)
    assert plan.dollars == sum(step.dollars or 0 for step in plan.steps)
    assert (found["collaborate"].seconds, found["warmup"].seconds) == (160, None)
    without = check(topics_config(tmp_path, **service)).plan
    assert without.dollars is None
    assert any("no price is known" in note for note in without.notes)


def test_further_rounds_are_counted_on_the_rows_that_the_earlier_ones_leave(tmp_path: Path) -> None:
    found = steps(tmp_path, rounds=3)
    assert found["collaborate"].requests == (40 + 20 + 10) * 4
    assert found["justify"].requests == (40 + 20 + 10) * 2
    assert found["evolve"].requests == (12 + 20) + (12 + 30) + (12 + 35)
    assert found["warmup"].requests == 12  # the evolved model is the next round's warm one
    assert found["evaluate"].requests == 30 * 3
    other = steps(tmp_path, rounds=3, evolve={"training": {"num_train_epochs": 5}})
    assert other["warmup"].requests == 12 + 32 + 42  # else each round warms up on what it has


def test_rounds_end_where_no_row_is_left(tmp_path: Path) -> None:
    found = steps(tmp_path, rounds=3, select={"enabled": False})
    assert found["collaborate"].requests == 40 * 4
    assert found["evolve"].requests == 12 + 40


def test_the_plan_of_rounds_is_what_the_run_does(tmp_path: Path) -> None:
    config = topics_config(tmp_path, rounds=3, select={"per_answer": False}, evolve={"training": {"lora_r": 4}})
    told = {step.stage: step for step in check(config).plan.steps}
    run(config)
    done = [(stage.name, stage.summary()) for _, stage in RunFolder(config.output).stages()]
    for name in ("warmup", "evolve"):
        rows = sum(summary["rows"] for stage, summary in done if stage == name)
        assert rows == pytest.approx(told[name].requests, rel=0.1)  # rows as sure as the last that is kept are kept too
    asked = sum(summary["requests"] for stage, summary in done if stage == "collaborate")
    assert asked == pytest.approx(told["collaborate"].requests, rel=0.1)


def test_the_test_counts_the_models_that_there_are_and_the_examples_they_are_shown(tmp_path: Path) -> None:
    plain = steps(tmp_path, data={"unlabeled": None})["evaluate"]
    assert plain.requests == 30 * 2  # base and warm
    shown = steps(tmp_path, data={"unlabeled": None}, evaluate={"examples": 2})["evaluate"]
    assert shown.tokens == 3 * plain.tokens  # all prompts here are equally long


def test_scores_of_a_committee_are_counted_as_the_run_asks_them(tmp_path: Path, asked: list[Request]) -> None:
    sections: dict[str, Any] = {"justify": {"views": []}, "collaborate": {"gate": False}, "backend": WATCHED}
    planned = steps(tmp_path, preset="trusted", **sections)
    assert planned["warmup"].requests == 12 + 4 * 9  # four parts of 3 rows
    assert planned["collaborate"].requests == 3 * (40 * 5 + 12)  # three answers; M_warm and four, and one out of fold
    assert planned["evolve"].requests == 12 + 40
    asked.clear()
    run(topics_config(tmp_path, preset="trusted", **sections), until="collaborate")
    assert len(asked) == planned["collaborate"].requests
    read_once = {(request.messages[-1]["content"], request.weights) for request in asked}
    words = sum(len(prompt.split()) for prompt, _ in read_once) + len(asked)  # and a word for each answer
    assert planned["collaborate"].tokens == words
