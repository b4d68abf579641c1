"""What a grid says beforehand, held against what it then does."""

import json
import math
from pathlib import Path

import pytest

import counting
from semievol.cli import main
from semievol.experiments.options import Search
from semievol.forecast.plan import Estimate
from semievol.forecast.work import Step

COUNTED = {"backend": {"kind": "counting:CountingBackend"}, "training": {"kind": "counting:CountingTrainer"}}
OFFLINE = ("vanilla", "RAG (BM25)", "SFT", "pseudo-label everything", "released recipe", "SemiEvol")
BATCH, LABELED = 8, 12


def stages(told: Estimate) -> dict[str, Step]:
    return {step.stage: step for step in told.steps}


def steps_done(labeled_alone: bool) -> int:
    """Optimizer steps of the warm-ups, or of all other trainings."""
    made = [(len(rows), epochs) for rows, epochs, *_ in map(json.loads, counting.trained)]
    return sum(math.ceil(rows / BATCH) * epochs for rows, epochs in made if (rows <= LABELED) == labeled_alone)


@pytest.mark.parametrize("name", ["ablation", "sensitivity", "continuous", "iterative", "entropy", "stability"])
def test_shared_work_is_counted_once(name: str, experiment, estimated) -> None:
    sections = {**COUNTED, "task": {"instruction": None if name == "stability" else "?"}}
    told = stages(estimated(name, sections))
    counting.forget()  # the engine was timed
    assert not experiment(name, sections=sections).failures
    asked = sum(step.requests for step in told.values() if not step.steps)
    assert counting.asked.total() <= asked <= 1.7 * counting.asked.total()
    assert told["warmup"].steps == steps_done(labeled_alone=True)
    # more where rows are as sure as the last one that θ keeps, less where two methods keep the same rows
    assert 0.8 * steps_done(labeled_alone=False) <= told["evolve"].steps <= 1.7 * steps_done(labeled_alone=False)


def test_a_search_is_counted_with_its_longest_recipe(experiment, estimated) -> None:
    told = estimated("compare", COUNTED, methods=OFFLINE)
    assert told.notes[0].startswith("14 runs, 8 of them for the search")
    counting.forget()
    assert not experiment("compare", sections=COUNTED, methods=OFFLINE).failures
    found = stages(told)
    assert counting.asked.total() <= sum(step.requests for step in told.steps if not step.steps)
    assert found["warmup"].steps >= steps_done(labeled_alone=True)
    assert found["evolve"].steps >= steps_done(labeled_alone=False)


def test_every_seed_and_fold_is_work(estimated) -> None:
    def warmup(folds: int = 1, **options) -> Step:
        search = Search(epochs=(1, 4), folds=folds)
        return stages(estimated("table1", methods=("SFT",), search=search, **options))["warmup"]

    assert warmup().requests == 3 * 10 + LABELED  # three recipes, on the rows that are not held out
    assert warmup(folds=4).requests == 4 * 3 * 9 + LABELED
    assert warmup(seeds=(0, 1)).steps == 2 * warmup().steps


def test_another_model_has_a_line_of_its_own(estimated) -> None:
    found = stages(estimated("compare", methods=("SFT",), checkpoints=("owner/other-8B",)))
    assert found["evaluate other-8B"].requests == 30
    assert list(found)[-1] == "evaluate other-8B"
    assert stages(estimated("compare", methods=("SFT",)))["evaluate"] == found["evaluate"]


def test_dollars_are_those_of_all_runs_together(estimated) -> None:
    pytest.importorskip("openai")
    prices = {"input": 1e6, "output": 1e6, "tuned_input": 1e6, "tuned_output": 1e6, "training": 1e6}
    sections = {
        "model": {"name": "mine"},
        "backend": {"kind": "openai", "service": {"base_url": "http://localhost:1/v1"}},
        "training": {"kind": "hosted"},
        "costs": {"prices": prices},  # a dollar a token
    }
    one = estimated("entropy", sections)
    assert one.dollars == sum(step.tokens + step.answers for step in one.steps)
    limit = 1.5 * one.dollars
    sections["costs"]["max_cost"] = limit
    stops = f"costs.max_cost stops the run at ${limit:.2f}, which may be before it is done"
    assert stops not in estimated("entropy", sections).notes
    assert stops in estimated("entropy", sections, seeds=(0, 1)).notes


def test_a_plan_computes_nothing(config_file: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    assert main(["compare", str(config_file), "--plan", "--out", str(out), "--methods", *OFFLINE]) == 0
    said = capsys.readouterr().out
    assert "What all runs together will do, at most" in said
    assert said.index("warmup") < said.index("collaborate") < said.index("evaluate")
    assert not (out / "runs").exists()
    assert not (out / "compare").exists()
