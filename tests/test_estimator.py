"""The classifier in scikit-learn's manner."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

from samples import write_topics
from semievol import SemiEvolClassifier

FAKE: dict[str, Any] = {
    "backend": {"kind": "fake"},
    "training": {"kind": "fake"},
    "retrieval": {"kind": "bm25"},
    "collaborate": {"max_tokens": 8},
}


@pytest.fixture
def rows(tmp_path: Path) -> pd.DataFrame:
    write_topics(tmp_path / "rows.csv", 80, seed=3)
    return pd.read_csv(tmp_path / "rows.csv")


def few(labels: Any, missing: Any, every: int = 3) -> np.ndarray:
    """The labels, of which two in three are not known."""
    return np.array([label if place % every == 0 else missing for place, label in enumerate(labels)], dtype=object)


@pytest.mark.parametrize("missing", [None, float("nan"), "", " "])
def test_texts_without_a_label_stand_among_the_others(rows: pd.DataFrame, missing: Any) -> None:
    classifier = SemiEvolClassifier(FAKE).fit(rows["text"], few(rows["topic"], missing))
    assert list(classifier.classes_) == ["money", "sport", "weather"]
    assert classifier.run_.pseudo_labels().num_rows == 53
    answers = classifier.run_.predict(list(rows["text"]), progress=False)["answer"].to_pylist()
    assert classifier.predict(rows["text"]).tolist() == answers


def test_labels_that_are_numbers_come_back_as_numbers(rows: pd.DataFrame) -> None:
    numbers = rows["topic"].map({"money": 7, "sport": 0, "weather": 3}).to_numpy()
    y = np.where(np.arange(80) % 3 == 0, numbers, -1)
    classifier = SemiEvolClassifier(FAKE).fit(rows[["text"]].to_numpy(), y)
    assert classifier.classes_.tolist() == [0, 3, 7]
    found = classifier.predict(rows["text"].tolist())
    assert found.dtype.kind == "i"
    answers = classifier.run_.predict(list(rows["text"]), progress=False)["answer"].to_pylist()
    assert list(map(str, found)) == answers


def test_probabilities_are_of_the_classes_and_sum_to_one(rows: pd.DataFrame) -> None:
    classifier = SemiEvolClassifier(FAKE).fit(rows["text"], few(rows["topic"], None))
    shares = classifier.predict_proba(rows["text"][:9])
    assert shares.shape == (9, 3)
    assert shares.sum(axis=1) == pytest.approx(np.ones(9))
    assert (classifier.classes_[shares.argmax(axis=1)] == classifier.predict(rows["text"][:9])).all()
    with pytest.raises(ValueError, match=r"X\[1\] cannot be classified"):
        classifier.predict_proba(["rain", " "])


def test_without_unlabeled_texts_the_labels_alone_train_it(rows: pd.DataFrame) -> None:
    classifier = SemiEvolClassifier(FAKE).fit(rows["text"][:40], rows["topic"][:40])
    assert classifier.run_.weights is None
    answers = classifier.run_.predict(list(rows["text"]), "warm", progress=False)["answer"].to_pylist()
    assert classifier.predict(rows["text"]).tolist() == answers


def test_it_learns_from_texts_without_a_label(rows: pd.DataFrame) -> None:
    y = few(rows["topic"], None)
    alone = SemiEvolClassifier(FAKE).fit(rows["text"][::3], y[::3])
    trusted = SemiEvolClassifier({**FAKE, "preset": "trusted", "justify": {"views": []}}).fit(rows["text"], y)
    assert trusted.score(rows["text"], rows["topic"]) > alone.score(rows["text"], rows["topic"]) > 1 / 3


def test_a_folder_keeps_the_run_and_resumes(rows: pd.DataFrame, tmp_path: Path) -> None:
    y = few(rows["topic"], None)
    classifier = SemiEvolClassifier(FAKE, output=tmp_path / "run").fit(rows["text"], y)
    assert (tmp_path / "run/report.html").exists()
    done = (tmp_path / "run/evolve/done.json").read_bytes()
    clone(classifier).fit(rows["text"], y)
    assert (tmp_path / "run/evolve/done.json").read_bytes() == done


def test_it_takes_part_in_scikit_learns_tools(rows: pd.DataFrame) -> None:
    X, y = rows["text"].to_numpy(), rows["topic"].to_numpy()
    pipeline = make_pipeline(
        FunctionTransformer(lambda texts: [text.upper().lower() for text in texts]), SemiEvolClassifier(FAKE)
    )
    assert np.isfinite(cross_val_score(pipeline, X, y, cv=3)).all()
    grid = GridSearchCV(SemiEvolClassifier(FAKE), {"config": [FAKE, {**FAKE, "seed": 1}]}, cv=2).fit(X, y)
    assert grid.best_params_["config"] in (FAKE, {**FAKE, "seed": 1})


def test_a_config_may_be_a_file(rows: pd.DataFrame, tmp_path: Path) -> None:
    from semievol.config import build, dump

    file = tmp_path / "mine.yaml"
    file.write_text(dump(build({**FAKE, "seed": 9})))
    classifier = SemiEvolClassifier(str(file)).fit(rows["text"], few(rows["topic"], None))
    assert "seed: 9" in (classifier.run_.path / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("X", "y", "reason"),
    [
        ("a text", ["a"], "a list of texts is expected"),
        (7, ["a"], "a list of texts is expected"),
        ([1, 2], ["a", "b"], "texts in one dimension are expected"),
        ([["a", "b"], ["c", "d"]], ["a", "b"], "texts in one dimension are expected"),
        (["a", "b"], ["x"], r"y has the shape \(1,\), and there are 2 texts"),
        (["a", "b"], ["x", None], r"at least two labels, and y holds 1 class"),
        (["a", "b"], [-1, -1], r"at least two labels, and y holds 0 class"),
    ],
)
def test_what_it_cannot_learn_from_is_a_value_error(X: Any, y: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        SemiEvolClassifier(FAKE).fit(X, y)


def test_it_is_fitted_before_it_predicts() -> None:
    for method in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError):
            getattr(SemiEvolClassifier(FAKE), method)(["rain"])


CHECKS = (
    estimator_checks.check_estimator_cloneable,
    estimator_checks.check_estimator_tags_renamed,
    estimator_checks.check_valid_tag_types,
    estimator_checks.check_estimator_repr,
    estimator_checks.check_no_attributes_set_in_init,
    estimator_checks.check_estimators_unfitted,
    estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
    estimator_checks.check_mixin_order,
    estimator_checks.check_parameters_default_constructible,
    estimator_checks.check_get_params_invariance,
    estimator_checks.check_set_params,
)
"""Those that give no table of numbers; the others do, and `check_estimator` runs none of them on texts."""


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_passes_the_checks_of_scikit_learn_that_apply_to_texts(check: Callable[..., None]) -> None:
    check("SemiEvolClassifier", SemiEvolClassifier(FAKE))


def test_it_can_be_pickled_before_it_is_fitted() -> None:
    assert pickle.loads(pickle.dumps(SemiEvolClassifier(FAKE))).config == FAKE
