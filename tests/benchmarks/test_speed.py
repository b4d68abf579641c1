"""The benchmark of speed: its arithmetic by hand, its tables from a fixture, its ways on a tiny model."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from benchmarks.pages import ROOT
from benchmarks.speed import cells, figures, table
from benchmarks.speed.__main__ import options
from benchmarks.speed.composition import Demo, demo_counts, demo_seconds
from benchmarks.speed.limit import Shape, forward_flop, shape_of, training_flop
from benchmarks.speed.measure import rotated
from benchmarks.speed.sameness import difference, nll_difference, same_share
from benchmarks.speed.workloads import KINDS, STAGES, Kind, Size, Workload, needed, prepare, row_of, stage_of

from samples import topics_config
from semievol.config import ModelConfig, TrainingConfig, build, dump, load
from semievol.records import Message, Request, Sampling, TrainingExample
from tiny import CHAT, save_tiny_adapter, save_tiny_model

SMOLLM2 = Shape(hidden=576, intermediate=1536, keys=192, queries=576, layers=30, vocabulary=49152)


def answered(seconds: float, loading: float, collaborate: float, score: float) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "loading": loading,
        "stages": {"collaborate": collaborate, "justify": 1.0, "score": score},
        "completion_tokens": 40,
        "counters": {},
        "peak_memory_mb": 2048,
    }


def trained(step_seconds: float, seconds: float) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "step_seconds": step_seconds,
        "steps": 5,
        "losses": [2.0, 1.0],
        "counters": {"computed": 3100, "padding": 100},
        "peak_memory_mb": 3072,
    }


@pytest.fixture
def result() -> dict[str, Any]:
    """Three repetitions of 10 rows and four collaborators."""
    share = {"accuracy": 0.5, "low": 0.4, "high": 0.6}
    gap = {"largest": 0.02, "mean": 0.01}
    return {
        "machine": {"cores": 2, "threads": 2, "processor": "a processor", "memory_gb": 24, "versions": {"torch": "2"}},
        "dtype": "bfloat16",
        "settings": {"rows": 10, "train_rows": 40, "repetitions": 3, "naive_tokens": 6},
        "counts": {
            "requests": {"collaborate": 40, "justify": 4, "score": 10},
            "tokens_requested": {"collaborate": 4000, "justify": 400, "score": 600},
            "tokens_needed": {"collaborate": 2000, "justify": 300, "score": 400},
            "training_tokens": 5000,
            "training_answer_tokens": 100,
        },
        "flop": {"prefill_token": 2e8, "training_token": 4e8},
        "answering": {
            "ours": [answered(11, 1, 8, 1), answered(21, 1, 18, 1), answered(11, 1, 8, 1)],
            "naive": [answered(36, 6, 24, 5), answered(66, 6, 54, 5), answered(46, 6, 34, 5)],
            "tuned": [answered(17, 2, 12, 2), answered(32, 2, 27, 2), answered(22, 2, 17, 2)],
        },
        "missing": {"vllm": "not installed"},
        "prefill": [
            {"seconds": 8, "counters": {"computed": 4000, "padding": 0}},
            {"seconds": 16, "counters": {"computed": 2600, "padding": 100}},
            {"seconds": 8, "counters": {"computed": 4000, "padding": 0}},
        ],
        "rates": [{"layer": 2e11, "square": 3e11}, {"layer": 1e11, "square": 3e11}, {"layer": 2e11, "square": 3e11}],
        "training": {
            "ways": {
                "ours": [trained(8, 12), trained(10, 14), trained(8, 12)],
                "trl": [trained(16, 24), trained(25, 35), trained(20, 30)],
                "trl-tuned": [trained(12, 18), trained(12, 18), trained(12, 18)],
            },
            "rates": [{"layer": 4e11, "square": 3e11}] * 3,
            "loss_difference": {"trl": gap, "trl-tuned": gap},
        },
        "checks": {
            "greedy": {"tuned": {"equal": 39, "of": 40}},
            "samples": {way: {"accuracy": share, "agreement": share} for way in ("ours", "naive", "tuned")},
            "mean_nll": {"naive": gap, "tuned": gap},
        },
    }


def test_a_ratio_is_taken_in_each_repetition_and_its_median_shown_with_the_extremes() -> None:
    assert figures.ratios([30, 60, 40], [10, 20, 10]) == [3, 3, 4]
    assert cells.spread([3, 4, 3.5]) == "3.50 (3.00 to 4.00)"


def test_loading_is_left_out_or_counted(result: dict[str, Any]) -> None:
    assert cells.slower("naive", loading=False)(result) == "3.00 (3.00 to 4.00)"
    assert cells.slower("naive", loading=True)(result) == "3.27 (3.14 to 4.18)"
    assert cells.slower("vllm", loading=False)(result) == "not installed"


def test_the_layers_of_smollm2_have_106_million_weights() -> None:
    assert SMOLLM2.weights == 30 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536) == 106_168_320
    assert SMOLLM2.lora_weights(16) == 30 * 16 * (2 * 1152 + 2 * 768 + 3 * 2112)


def test_forward_arithmetic_is_layers_and_attention_and_head() -> None:
    layers, head, attention = 2 * 106_168_320 * 100, 2 * 576 * 49152 * 1, 30 * 4 * 576 * 100 * 50
    assert forward_flop(SMOLLM2, tokens=100, logits=1, length=100) == layers + head + attention


def test_training_arithmetic_leaves_out_gradients_of_frozen_weights() -> None:
    frozen, head, attention = 4 * 106_168_320 * 100, 4 * 576 * 49152 * 3, 3 * 30 * 4 * 576 * 100 * 50
    lora = 6 * SMOLLM2.lora_weights(16) * 100
    assert training_flop(SMOLLM2, tokens=100, logits=3, length=100, rank=16) == frozen + head + attention + lora


def test_the_shape_is_read_from_the_models_config() -> None:
    from transformers import LlamaConfig

    config = LlamaConfig(
        hidden_size=576,
        intermediate_size=1536,
        num_attention_heads=9,
        num_key_value_heads=3,
        num_hidden_layers=30,
        vocab_size=49152,
    )
    assert shape_of(config) == SMOLLM2


def test_the_share_of_the_limit_counts_what_the_engine_computed_and_else_what_was_asked(result: dict[str, Any]) -> None:
    assert figures.prefill_shares(result) == pytest.approx(
        [4000 * 2e8 / 8 / 2e11, 2500 * 2e8 / 16 / 1e11, 4000 * 2e8 / 8 / 2e11]
    )
    assert figures.prefill_shares(result, needed=True)[0] == pytest.approx(2000 * 2e8 / 8 / 2e11)
    assert figures.training_shares(result)[0] == pytest.approx(3000 * 4 / 5 / 8 * 4e8 / 4e11)


def test_needed_tokens_are_those_of_the_prefix_tree() -> None:
    assert needed([[1, 2, 3], [1, 2, 4], [1, 2, 3], [5]]) == 5
    assert needed([]) == 0


def test_the_whole_demo_is_its_counts_times_what_a_unit_took(result: dict[str, Any]) -> None:
    demo = Demo(rows=400, test_answers=1500, training_tokens=100_000)
    answers = 400 * (8 / 10 + 1 / 10) + 1500 * 60 * 8 / 4000
    assert demo_seconds(result, demo, "ours", "ours")[0] == pytest.approx(answers + 1 + 20 * 10 + 2 * (12 - 10))
    answers = 400 * (12 / 10 + 2 / 10) + 1500 * 60 * 12 / 4000
    assert demo_seconds(result, demo, "tuned", "ours")[0] == pytest.approx(answers + 2 * 2 + 20 * 10 + 2 * (12 - 10))
    answers = 400 * (24 / 10 + 5 / 10) + 1500 * 60 * 24 / 4000
    assert demo_seconds(result, demo, "naive", "trl")[0] == pytest.approx(answers + 8 * 1 + 20 * 20 + 2 * (24 - 20))


def test_the_demos_counts_are_those_of_its_config_and_its_kept_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stage, tokens in (("warmup", 1000), ("evolve", 2500)):
        (tmp_path / f"{stage}-done.json").write_text(json.dumps({"tokens": tokens}))
    monkeypatch.setattr("benchmarks.speed.composition.KEPT", tmp_path)
    assert demo_counts() == Demo(rows=400, test_answers=1500, training_tokens=3500)


def test_every_result_stands_in_the_tables(result: dict[str, Any]) -> None:
    made = table.tables({"newsgroups": result, "fpb": result})
    assert made.count(KINDS["fpb"].title) == 6
    assert "| naive | 3.00 (3.00 to 4.00) | 3.00 (3.00 to 4.00) |" in made
    assert "39 of 40" in made
    assert "Measured on 2 cores (a processor), 2 threads, 24 GB; torch 2." in made
    assert "The whole demo" in made
    assert all(line.count("|") == 4 for line in made.splitlines() if line.startswith("|"))


def test_the_demo_as_it_was_really_run_stands_below(result: dict[str, Any]) -> None:
    whole = {
        "ours": {"minutes": 10.0, "accuracy": {"evolved": 0.75}},
        "naive": {"minutes": 35.0, "accuracy": {"evolved": 0.745}},
    }
    assert "ours 10.0 minutes, naive 35.0, 3.50 times ours; accuracy of SemiEvol 75.0 % and 74.5 %." in table.tables(
        {"newsgroups": result}, whole
    )


def test_free_decoding_stands_below_with_its_ratio(result: dict[str, Any]) -> None:
    free = {
        "tokens": 1024,
        "requests": 40,
        "ours": {"seconds": 5.0, "completion_tokens": 80},
        "naive": {"seconds": 100.0, "completion_tokens": 9000},
    }
    assert "took it 100 s for 9000 tokens, ours 5.0 s for 80: 20 times ours." in table.tables(
        {"newsgroups": result}, free=free
    )


def test_every_workloads_options_are_known() -> None:
    for kind in KINDS.values():
        load(ROOT / "configs" / kind.config, kind.overrides)


def test_the_ways_stand_in_another_order_in_each_repetition() -> None:
    assert [rotated("abc", number) for number in range(4)] == [list("abc"), list("bca"), list("cab"), list("abc")]


def test_quick_is_parsed_and_five_repetitions_are_the_least_by_default() -> None:
    assert options(["--quick"]).quick
    assert options([]).repetitions == 5
    assert options(["--workload", "fpb", "--workload", "pubmedqa"]).workload == ["fpb", "pubmedqa"]


def test_differences_are_absolute_and_over_what_both_have() -> None:
    assert difference([1.0, 2.0], [1.5, 1.9]) == {"largest": 0.5, "mean": pytest.approx(0.3)}
    assert difference([], []) is None
    assert nll_difference({"a": 1.0, "b": None}, {"a": 0.5, "b": 1.0}) == {"largest": 0.5, "mean": 0.5}
    assert same_share({"a": "x", "b": "y"}, {"a": "x", "b": "z"}) == {"equal": 1, "of": 2}


def test_a_requests_stage_and_row_are_read_from_it() -> None:
    message = (Message(role="user", content="a"),)
    asked = [Request("r/1/warm+1#2", message, "warm"), Request("r/1/justify", message, "warm")]
    asked.append(Request("r/1/score", message, "warm", response="b"))
    assert [stage_of(one) for one in asked] == list(STAGES)
    assert {row_of(one.id) for one in asked} == {"r/1"}


def test_a_run_up_to_justify_makes_a_workload_that_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("peft")
    config = topics_config(
        tmp_path,
        model={"name": save_tiny_model(tmp_path / "model"), "dtype": "float32", "device": "cpu"},
        training={"kind": "local"},
        evaluate={"unlabeled_answers": "topic"},
    )
    (tmp_path / "config.yaml").write_text(dump(config), encoding="utf-8")
    monkeypatch.setitem(KINDS, "topics", Kind("Topics", str(tmp_path / "config.yaml"), Size(3, 4, 8, 1)))
    facts = prepare("topics", KINDS["topics"].size, tmp_path / "workload")
    made = Workload(tmp_path / "workload")
    assert made.facts == json.loads(json.dumps(facts))
    assert len(facts["truth"]) == 3
    assert set(facts["truth"].values()) <= {"weather", "sport", "money"}
    assert facts["requests"]["collaborate"] == 3 * 4
    assert facts["tokens_needed"]["collaborate"] < facts["tokens_requested"]["collaborate"]
    assert len(made.training()) == 4
    assert (made.adapter / "adapter_config.json").exists()
    monkeypatch.setattr("semievol.run", None)
    assert prepare("topics", KINDS["topics"].size, tmp_path / "workload") == made.facts


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    """Requests of every kind to a tiny model in float32, where rounding flips no answer."""
    pytest.importorskip("peft")
    folder = tmp_path_factory.mktemp("workload")
    model = save_tiny_model(folder / "model")
    save_tiny_adapter(model, folder / "warmup" / "adapter")
    config = build({"model": {"name": model, "dtype": "float32", "device": "cpu"}, "backend": {"batch_tokens": 200}})
    (folder / "config.yaml").write_text(dump(config), encoding="utf-8")
    sampling = Sampling(temperature=1.0, max_tokens=16)
    requests = []
    for row, question in enumerate(
        ["oil", "What is wheat?", "Is the price of grain up?", "a b c d e f g h", "Rain"] * 2
    ):
        message = (Message(role="user", content=question),)
        requests += [Request(f"{row}/{w}+0", message, w, sampling) for w in ("base", "warm")]  # type: ignore[arg-type]
        requests.append(Request(f"{row}/score", message, "warm", response=f"{question} up"))
    lines = [json.dumps(asdict(request)) for request in requests]
    (folder / "requests.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Workload(folder)


@pytest.mark.parametrize("way", ["naive", "tuned"])
def test_every_way_gives_our_greedy_answers_and_our_h(workload: Workload, way: str) -> None:
    from benchmarks.speed import answering

    assert answering.greedy(way, workload.folder, ()) == answering.greedy("ours", workload.folder, ())
    ours = answering.repetition("ours", workload.folder, (), 0)
    theirs = answering.repetition(way, workload.folder, (), 0)
    assert len(ours["mean_nll"]) == 10
    assert theirs["mean_nll"] == pytest.approx(ours["mean_nll"], abs=1e-4)
    assert theirs["texts"].keys() == ours["texts"].keys()
    assert 0 < theirs["loading"] < theirs["seconds"]


def test_another_repetition_draws_other_samples(workload: Workload) -> None:
    seeds = [{one.sampling.seed for one in workload.requests(repetition)["collaborate"]} for repetition in (0, 1)]
    assert seeds[0].isdisjoint(seeds[1])
    assert {one.sampling.temperature for one in workload.requests(greedy=True)["collaborate"]} == {0.0}


def test_trl_sees_our_tokens_in_our_order_from_our_first_weights(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    from benchmarks.speed.training import ours, trl

    # TRL ends a completion with the end of text, ours with the end of the turn: here, as in SmolLM2, one token.
    name = save_tiny_model(tmp_path / "model", CHAT.replace("<|im_end|>", "<|end|>"))
    model = ModelConfig(name=name, dtype="float32", device="cpu")
    recipe = TrainingConfig(num_train_epochs=1, per_device_train_batch_size=4, gradient_accumulation_steps=1)
    rows = [
        TrainingExample(str(i), (Message(role="user", content=f"{'word ' * (i % 4)}{i}"),), "up" if i % 3 else "down")
        for i in range(12)
    ]
    losses: dict[str, list[float]] = {"ours": [], "trl": []}
    ours(model, rows, recipe, tmp_path / "ours", 0, losses["ours"].append)
    trl(model, rows, recipe, tmp_path / "trl", 0, losses["trl"].append, tuned=True)
    assert len(losses["ours"]) == 3
    assert losses["trl"] == pytest.approx(losses["ours"], abs=1e-3)
