"""What would stop a run later is said before it begins."""

import importlib.util
import sys
from pathlib import Path

import pytest

from samples import topics_config, write_topics
from semievol.cli import main
from semievol.config import dump
from semievol.errors import BackendError, ConfigError, DataError, MissingExtraError
from semievol.forecast.check import check
from semievol.forecast.needs import require_engine
from semievol.pipeline import run

FOLDER = {"embedder": "./no/such/folder"}


@pytest.mark.parametrize(
    ("absent", "sections", "said"),
    [
        ("faiss", {"retrieval": {"kind": "dense"}}, r"retrieval.kind: dense needs faiss; pip install 'semievol\[local"),
        ("sentence_transformers", {"retrieval": {"kind": "dense"}}, "needs sentence_transformers"),
        ("sklearn", {"evaluate": {"baselines": ["logistic_regression"]}}, "evaluate.baselines: .* needs sklearn"),
        ("trl", {"training": {"kind": "local"}}, "training.kind: local needs trl"),
        ("torch", {"backend": {"kind": "transformers"}}, "backend.kind: transformers needs torch"),
        ("sklearn", {"preset": "trusted"}, "justify.views: logistic_regression needs sklearn"),
        ("openai", {"backend": {"kind": "openai"}, "model": {"name": "m"}}, "backend.kind: openai needs openai"),
        ("mlflow", {"training": {"kind": "local", "report_to": ["mlflow"]}}, "report_to: mlflow needs mlflow"),
    ],
)
def test_a_missing_package_is_named_before_anything_is_done(tmp_path, monkeypatch, absent, sections, said) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    config = topics_config(tmp_path, **sections)
    for refused in (check, run):
        with pytest.raises(MissingExtraError, match=said):
            refused(config)
    assert not list(Path(config.output).glob("*/key.json"))


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"training": {"kind": "local", "report_to": ["wandbb"]}}, "report_to: 'wandbb' is not one of .*wandb"),
        ({"retrieval": {"kind": "dense", **FOLDER}}, "retrieval.embedder: no folder ./no/such/folder"),
        ({"evaluate": {"baselines": ["logistic_regression"]}, "retrieval": FOLDER}, "embedder: no folder"),
        ({"task": {"kind": "free_text"}, "select": {"per_answer": True}}, "per_answer is true .* not a closed set"),
        ({"task": {"kind": "free_text"}, "evaluate": {"baselines": ["logistic_regression"]}}, "for tasks with labels"),
        ({"collaborate": {"how": "score"}, "task": {"kind": "free_text"}}, "collaborate.how is score .* not a closed"),
        ({"preset": "trusted", "warmup": {"folds": 20}}, "warmup.folds is 20 and there are 12 labeled rows"),
        ({"preset": "trusted", "retrieval": FOLDER}, "embedder: no folder"),
        ({"preset": "trusted", "justify": {"views": ["sense"]}}, "justify.views: 'sense' is not one of"),
        ({"retrieval": {"kind": "no_module_here:Retriever"}}, "cannot import no_module_here"),
    ],
)
def test_what_cannot_go_together_is_refused_before_anything_is_done(tmp_path, sections, said) -> None:
    config = topics_config(tmp_path, **sections)
    for refused in (check, run):
        with pytest.raises(ConfigError, match=said):
            refused(config)
    assert not list(Path(config.output).glob("*/key.json"))


def test_a_column_with_the_truth_is_looked_at_before_anything_is_done(tmp_path: Path) -> None:
    write_topics(tmp_path / "unlabeled.csv", 30, seed=5)
    for column, said in (("topics", "no column 'topics'.*Did you mean 'topic'"), ("text", "is not one of the labels")):
        config = topics_config(tmp_path, evaluate={"unlabeled_answers": column})
        for refused in (check, run):
            with pytest.raises(DataError, match=said):
                refused(config)
        assert not list(Path(config.output).glob("*/key.json"))


def test_a_vllm_that_the_run_cannot_start_is_named_before_anything_is_done(tmp_path: Path) -> None:
    if importlib.util.find_spec("vllm"):
        pytest.skip("vLLM is installed here")
    config = topics_config(tmp_path, backend={"kind": "vllm"})
    with pytest.raises(BackendError, match="vLLM is not installed"):
        require_engine(config)
    for there in ({"url": "http://localhost:1"}, {"command": ["vllm", "serve"]}):
        require_engine(topics_config(tmp_path, backend={"kind": "vllm", "vllm": there}))


def test_what_only_later_stages_need_does_not_stop_an_earlier_one(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    config = topics_config(tmp_path, evaluate={"baselines": ["logistic_regression"]})
    assert run(config, until="evolve").weights is not None
    with pytest.raises(MissingExtraError, match="sklearn"):
        run(config)


def test_a_packages_absence_does_not_matter_where_nothing_imports_it(tmp_path: Path, monkeypatch) -> None:
    for package in ("faiss", "sklearn", "sentence_transformers", "openai"):
        monkeypatch.setitem(sys.modules, package, None)
    assert run(topics_config(tmp_path)).metrics is not None


def test_compare_says_which_method_lacks_a_package_before_it_measures_any(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    path = tmp_path / "topics.yaml"
    path.write_text(dump(topics_config(tmp_path)), encoding="utf-8")
    assert main(["compare", str(path), "--out", str(tmp_path / "out"), "--no-search"]) == 1
    said = capsys.readouterr().err
    assert "logistic regression on embeddings: evaluate.baselines" in said
    assert "or leave the method out with --methods" in said
    assert not list((tmp_path / "out").rglob("key.json"))
