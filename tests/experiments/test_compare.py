"""semievol compare, as a user calls it."""

import dataclasses
from pathlib import Path

import pytest

from samples import topics_config
from semievol.arguments import FURTHER_EXPERIMENTS, PAPER_EXPERIMENTS
from semievol.cli import main
from semievol.config import build, changed, dump, load
from semievol.data import Dataset
from semievol.data import load as load_data
from semievol.experiments.catalogue import COMPARE, EXPERIMENTS, Experiment
from semievol.experiments.compare import verdict
from semievol.experiments.methods import Method
from semievol.experiments.options import Options, Search
from semievol.experiments.statistics import Comparison, Summary
from semievol.tasks import open_task

OFFLINE = ["vanilla", "RAG (BM25)", "SFT", "pseudo-label everything", "released recipe", "SemiEvol"]
SIMPLE = ["logistic regression on embeddings", "self-trained logistic regression"]
ORACLE = "oracle (all true answers)"


def summary(method: str, accuracy: float, most_frequent: float = 0.3) -> Summary:
    low, high = accuracy - 0.05, accuracy + 0.05
    return Summary("mail", "model", method, (0,), accuracy, None, low, high, 200, None, 0, None, most_frequent)


def pair(low: float, high: float, p: float) -> Comparison:
    middle = (low + high) / 2
    return Comparison("mail", "model", "SemiEvol", "SFT", (0,), middle, (middle,), None, low, high, 20, 4, p, p)


BOTH = [summary("SFT", 0.8), summary("SemiEvol", 0.88)]


def test_a_sure_gain_is_called_one() -> None:
    said = verdict(BOTH, [pair(0.03, 0.13, 0.001)])
    assert said.startswith("SemiEvol is better than SFT here: 88.0 % against 80.0 %, +8.0 points")
    assert "(95 % interval +3.0 to +13.0, p = 0.001)" in said
    assert "one seed on 200 test rows" in said


def test_a_sure_loss_is_called_one() -> None:
    assert verdict(BOTH, [pair(-0.13, -0.03, 0.001)]).startswith("SemiEvol is worse than SFT here")


@pytest.mark.parametrize(("low", "high", "p"), [(-0.01, 0.05, 0.2), (0.001, 0.05, 0.06), (-0.001, 0.05, 0.04)])
def test_what_is_not_sure_is_called_open(low: float, high: float, p: float) -> None:
    assert verdict(BOTH, [pair(low, high, p)]).startswith("Whether SemiEvol is better than SFT here is open")


def test_the_best_method_is_named_whichever_it_is() -> None:
    simple = summary("logistic regression on embeddings", 0.9)
    said = verdict([*BOTH, simple, summary(ORACLE, 0.95)], [pair(0.03, 0.13, 0.001)])
    assert said.endswith("The best of the 3 methods is logistic regression on embeddings, at 90.0 %.")
    assert verdict(BOTH, [pair(0.03, 0.13, 0.001)]).endswith("The best of the 2 methods is SemiEvol, at 88.0 %.")
    even = verdict([*BOTH, summary("RAG", 0.88)], [pair(0.03, 0.13, 0.001)])
    assert even.endswith("The best of the 3 methods is SemiEvol and RAG, at 88.0 %.")
    assert verdict([summary("SFT", 0.8), simple], []).startswith("The best of the 2 methods is logistic regression")
    assert verdict([summary("SFT", 0.8)], []) == ""


def test_a_gain_of_models_that_guess_is_called_that() -> None:
    said = verdict([summary("SFT", 0.45, 0.56), summary("SemiEvol", 0.56, 0.56)], [pair(0.02, 0.2, 0.01)])
    assert "Neither is surely above the 56.0 % that one answer for all test rows would reach" in said
    one_has_learned = [summary("SFT", 0.45, 0.56), summary("SemiEvol", 0.7, 0.56)]
    assert "Neither" not in verdict(one_has_learned, [pair(0.02, 0.2, 0.01)])


def test_several_seeds_say_how_many_are_ahead() -> None:
    three = dataclasses.replace(pair(0.03, 0.13, 0.001), seeds=(0, 1, 2), by_seed=(0.1, 0.2, -0.1))
    assert "with 3 seeds, ahead in 2 of them, on 200 test rows each" in verdict(BOTH, [three])


def test_a_gain_that_hangs_on_the_draw_of_labels_says_so() -> None:
    hangs = dataclasses.replace(pair(-0.01, 0.08, 0.001), seeds=(0, 1, 2), by_seed=(0.1, 0.02, -0.01))
    said = verdict(BOTH, [hangs])
    assert said.startswith("Whether SemiEvol is better than SFT here is open")
    assert "the interval counts other draws of labels too, and among them are some that say otherwise." in said
    for sure in (dataclasses.replace(hangs, low=0.01), dataclasses.replace(hangs, p=0.2)):
        assert "draws of labels" not in verdict(BOTH, [sure])


def methods_of(experiment: Experiment, kind: str = "label") -> dict[str, Method]:
    config = build({"task": {"kind": kind, "labels": ["yes", "no"] if kind == "label" else []}})
    offered = experiment.methods(config, Dataset((), (), (), open_task(config.task, ())), Options())
    return {method.name: method for method in offered}


def test_table_1_has_the_papers_rows_the_released_recipe_and_what_one_would_try_first() -> None:
    rows = ["vanilla", "SFT", "RAG (BM25)", "RAG (dense)", "released recipe", "SemiEvol"]
    assert set(rows) < set(methods_of(EXPERIMENTS["table1"]))
    assert methods_of(EXPERIMENTS["table1"]).keys() >= set(SIMPLE)


def test_logistic_regression_is_offered_for_labels_alone() -> None:
    assert methods_of(EXPERIMENTS["table1"], "number").keys().isdisjoint(SIMPLE)


def test_no_method_takes_over_what_a_trusted_config_has_beyond_the_paper() -> None:
    config = build({"preset": "trusted", "task": {"kind": "label", "labels": ["yes", "no"]}})
    methods = methods_of(COMPARE)
    plain = build({"preset": "released"})
    released = changed(config, methods["released recipe"].config_options())
    for section in ("retrieval", "warmup", "collaborate", "justify", "select", "evolve"):
        assert getattr(released, section) == getattr(plain, section), section
    everything = changed(config, methods["pseudo-label everything"].config_options())
    assert (everything.warmup.folds, everything.collaborate.how, everything.justify.mode) == (0, "sample", "majority")
    for method in methods.values():
        changed(config, method.config_options())


def test_the_released_recipe_takes_over_nothing_that_the_authors_code_does_not_have() -> None:
    config = build(
        {
            "rounds": 3,
            "collaborate": {"temperature": 0.3, "top_p": 0.5, "enabled": False, "max_tokens": 99},
            "justify": {"mode": "majority", "temperature": 0.7},
            "select": {"per_answer": True, "min_agreement": 0.5, "criterion": "agreement", "enabled": False},
            "evolve": {"include_labeled": True, "enabled": False},
        }
    )
    released = changed(config, methods_of(COMPARE)["released recipe"].config_options())
    plain = build({"preset": "released", "collaborate": {"max_tokens": 99}})
    for section in ("rounds", "warmup", "collaborate", "justify", "select", "retrieval", "evolve"):
        assert getattr(released, section) == getattr(plain, section), section


def test_compare_needs_one_file_and_ends_with_a_sentence(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    assert main(["compare", str(config_file), "--out", out, "--methods", *OFFLINE]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in OFFLINE)
    assert "SFT here" in printed
    assert (tmp_path / "out/compare/topics/figure.png").exists()
    assert "SFT here" in (tmp_path / "out/compare/topics/table.md").read_text(encoding="utf-8")


def test_the_oracle_is_there_where_the_answers_are_known_and_trains_on_all_of_them(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["compare", str(config_file), "--out", str(tmp_path / "out"), "--methods", ORACLE, "SFT", "--no-search"]
    assert main(arguments) == 1
    assert "is not one of" in capsys.readouterr().err
    assert main([*arguments, "--set", "evaluate.unlabeled_answers=topic"]) == 0
    (run,) = (tmp_path / "out/runs/topics/seed-0").glob("oracle*")
    assert '"rows": 52' in (run / "warmup/done.json").read_text(encoding="utf-8")


def test_sft_can_be_shown_with_other_epochs_than_those_of_the_search(config_file: Path, experiment) -> None:
    options = {"methods": ("SFT", "SemiEvol"), "sft_epochs": (2, 5), "search": Search(epochs=(1,))}
    found = experiment("compare", **options)
    trained = {each.method: each.recipes["warmup"]["num_train_epochs"] for each in found.results}
    assert trained["SFT, 2 epochs"] == 2
    assert trained["SFT, 5 epochs"] == 5
    assert trained["SFT"] == trained["SemiEvol"]
    assert [each.method for each in found.results] == ["SFT", "SFT, 2 epochs", "SFT, 5 epochs", "SemiEvol"]


def test_the_methods_of_a_comparison_include_what_one_would_try_first(config_file: Path) -> None:
    config = load(config_file, ["evaluate.unlabeled_answers=topic"])
    names = [method.name for method in COMPARE.methods(config, load_data(config), Options())]
    assert set(names) == {*OFFLINE, "RAG (dense)", *SIMPLE, ORACLE}


def test_an_experiment_without_a_target_says_how_to_name_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment", "ablation"]) == 1
    assert "--config" in capsys.readouterr().err


def test_a_config_without_test_rows_is_refused(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = load(config_file, ["data.test=null"])
    config_file.write_text(dump(config), encoding="utf-8")
    assert main(["compare", str(config_file)]) == 1
    assert "data.test is not set" in capsys.readouterr().err


def test_the_command_line_knows_every_experiment() -> None:
    assert {*PAPER_EXPERIMENTS, *FURTHER_EXPERIMENTS} == set(EXPERIMENTS)


def test_an_experiment_over_two_configs_and_two_seeds_fills_one_table(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(config_file.read_text(encoding="utf-8"), encoding="utf-8")
    arguments = ["--config", str(config_file), str(other), "--seeds", "0", "1", "--out", str(tmp_path / "out")]
    assert main(["experiment", "ablation", *arguments]) == 0
    printed = capsys.readouterr()
    assert "[20/20]" in printed.err
    table = (tmp_path / "out/ablation/table.md").read_text(encoding="utf-8")
    assert "|  | topics | other |" in table
    assert main(["experiment", "results", "--out", str(tmp_path / "out")]) == 0
    assert "# What each part does (Table 2 of the paper)" in capsys.readouterr().out


@pytest.mark.parametrize("experiment", [COMPARE, EXPERIMENTS["table1"]])
def test_setfit_is_measured_where_the_config_names_it(tmp_path: Path, experiment: Experiment) -> None:
    plain, asked = topics_config(tmp_path), topics_config(tmp_path, evaluate={"baselines": ["setfit"]})
    rows = load_data(plain, tmp_path / "rows")
    offered, more = ([one.name for one in experiment.methods(each, rows, Options())] for each in (plain, asked))
    assert "logistic regression on embeddings" in offered
    assert set(more) - set(offered) == {"SetFit"}
