"""A classifier of texts in scikit-learn's manner: few labels, many texts without, and `predict_proba`."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from semievol.library import Run, run


class SemiEvolClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Trains a language model on labeled and unlabeled texts, and classifies others with it.

    As with scikit-learn's own `semi_supervised`, texts without a label stand among the others: their `y` is -1 if
    labels are numbers, and `None`, NaN or empty text if they are not. Without any, the labels alone train it.

    Args:
        config: sections of a config (`{"model": {"name": ...}, "preset": "trusted"}`), or a config's file. Data and
            labels come from `fit`.
        output: the run folder. Where it is not set, it is a temporary one, and what was trained goes with it.
        progress: show how far a fit has come.

    Attributes:
        classes_: the labels, sorted, (K,).
        run_: the run, with report, figures and pseudo-labels; see `semievol.Run`.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | str | Path | None = None,
        output: str | Path | None = None,
        progress: bool = False,
    ) -> None:
        self.config = config
        self.output = output
        self.progress = progress

    def fit(self, X: Any, y: Any) -> "SemiEvolClassifier":
        """Trains on N texts.

        Args:
            X: texts, (N,).
            y: their labels, (N,), of which some are none.

        Raises:
            ValueError: X is no list of texts, y is of another length, or there are fewer than two labels.
            SemiEvolError: the run cannot be, see `semievol.run`.
        """
        texts, labels = _texts(X), np.asarray(y)
        if labels.ndim != 1 or len(labels) != len(texts):
            raise ValueError(f"y has the shape {labels.shape}, and there are {len(texts)} texts")
        known = np.array([not _is_missing(label) for label in labels], dtype=bool)
        self.classes_ = np.unique(labels[known].tolist()) if known.any() else np.array([])
        if len(self.classes_) < 2:
            raise ValueError(f"a classifier needs at least two labels, and y holds {len(self.classes_)} class(es)")
        rows = list(zip(texts, labels.tolist(), known, strict=True))
        labeled = [{"prompt": text, "answer": str(label)} for text, label, is_known in rows if is_known]
        unlabeled = [{"prompt": text} for text, _, is_known in rows if not is_known]
        self._folder = None if self.output is not None else tempfile.TemporaryDirectory(prefix="semievol-")
        output = str(self.output) if self._folder is None else str(Path(self._folder.name, "run"))
        config = self._sections(output, self._names)
        self.run_: Run = run(config, labeled=labeled, unlabeled=unlabeled or None, progress=self.progress)
        return self

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """The probability of each label, (N, K), in the order of `classes_`: the model's own, not calibrated.

        Raises:
            NotFittedError: `fit` comes first.
            ValueError: X is no list of texts, or a text is empty or too long for the model.
        """
        check_is_fitted(self, "run_")
        texts = _texts(X)
        table = self.run_.probabilities(texts, self._model, progress=False)
        shares = np.column_stack([np.array(table[name].to_pylist(), dtype=float) for name in self._names])
        if bad := [number for number, row in enumerate(shares) if np.isnan(row).any()]:
            raise ValueError(f"X[{bad[0]}] cannot be classified: it is empty or too long for the model")
        return shares

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The likeliest label of each text, (N,); errors as `predict_proba`."""
        shares = self.predict_proba(X)
        likeliest: npt.NDArray[Any] = self.classes_[shares.argmax(axis=1)]
        return likeliest

    @property
    def _names(self) -> list[str]:
        """The labels as the model says them, in the order of `classes_`."""
        return [str(label) for label in self.classes_.tolist()]

    @property
    def _model(self) -> str:
        return "warm" if self.run_.weights is None else "evolved"

    def _sections(self, output: str, labels: Sequence[str]) -> Mapping[str, Any]:
        from semievol.config import load

        raw = (
            load(self.config).model_dump(mode="json")
            if isinstance(self.config, str | Path)
            else dict(self.config or {})
        )
        own = {"output": output, "data": {"unlabeled": None, "test": None}}
        return {**raw, **own, "task": {**raw.get("task", {}), "kind": "label", "labels": labels}}

    def __sklearn_tags__(self) -> Tags:
        """What it takes: texts in one dimension."""
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array, tags.input_tags.two_d_array, tags.input_tags.string = True, False, True
        return tags


def _texts(X: Any) -> list[str]:
    """The texts of a list, an array or a column.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(X, str) or not hasattr(X, "__len__"):
        raise ValueError("a list of texts is expected")
    values = np.asarray(X, dtype=object)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or not all(isinstance(text, str) for text in values):
        raise ValueError("texts in one dimension are expected: a list, an array or a column of strings")
    return [str(text) for text in values]


def _is_missing(label: Any) -> bool:
    """Whether it stands for no label."""
    if label is None or (isinstance(label, float) and np.isnan(label)):
        return True
    return not label.strip() if isinstance(label, str) else bool(label == -1)
