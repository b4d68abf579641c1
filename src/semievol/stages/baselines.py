"""What a practitioner would try before a language model: plain classifiers on the same rows."""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from semievol.config import Config
from semievol.errors import ConfigError
from semievol.records import Example
from semievol.stages.select import threshold
from semievol.trust.classifiers import C, classifier

Predictions = list[tuple[str, float]]
"""For each test row the answer and its probability."""
Embeddings = npt.NDArray[Any]

GRID = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""The values of C, the inverse strength of the regularization, that cross-validation chooses from."""
MOST_FOLDS = 5


@dataclass(frozen=True, slots=True)
class BaselineRows:
    """What a baseline may learn from, and what it is to answer."""

    labeled: Sequence[Example]
    unlabeled: Sequence[Example]
    test: Sequence[Example]


def logistic_regression(config: Config, rows: BaselineRows) -> Predictions:
    """Logistic regression over sentence embeddings of the labeled prompts, C = 10.

    Raises:
        ConfigError: the labeled rows hold one answer only.
    """
    embed = _embedder(config)
    model = classifier(C).fit(embed(rows.labeled), _truth(rows.labeled))
    return _answers(model, embed(rows.test))


def self_trained_logistic_regression(config: Config, rows: BaselineRows) -> Predictions:
    """Logistic regression that also learns from the unlabeled rows, once, by the rule that SemiEvol selects with.

    Trained on the labeled rows, it answers the unlabeled ones; those whose H, here -log p of the answer, is at most
    the θ-quantile (Eq. 7; of all rows, or of each answer with `select.per_answer`) are joined to the labeled rows, and
    it is trained again. Both times C is the best of a cross-validation on the labeled rows.

    Raises:
        ConfigError: the labeled rows hold one answer only.
    """
    embed = _embedder(config)
    vectors, truth = embed(rows.labeled), _truth(rows.labeled)
    c = best_c(vectors, truth, config.seed)
    model = classifier(c).fit(vectors, truth)
    if rows.unlabeled:
        unseen = embed(rows.unlabeled)
        answers = _answers(model, unseen)
        positions = selected(answers, config)
        vectors = np.concatenate([vectors, unseen[positions]])
        truth = [*truth, *(answers[index][0] for index in positions)]
        model = classifier(c).fit(vectors, truth)
    return _answers(model, embed(rows.test))


def setfit(config: Config, rows: BaselineRows) -> Predictions:
    """SetFit (Tunstall et al. 2022, arXiv 2209.11055): logistic regression over an encoder drawn to the labels.

    The library's own recipe: the embedder is trained for one epoch on pairs of labeled prompts, as many of one label as
    of two. The unlabeled rows are not seen.

    Raises:
        ConfigError: the labeled rows hold one answer only.
    """
    truth = _truth(rows.labeled)
    from datasets import Dataset, are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from setfit import SetFitModel, Trainer, TrainingArguments
    from setfit.logging import set_verbosity_error
    from sklearn.linear_model import LogisticRegression
    from transformers import ProgressCallback

    from semievol.retrieval.dense import Embedder

    set_verbosity_error()

    labels = sorted(set(truth))
    model = SetFitModel(Embedder(config.retrieval.embedder).model, LogisticRegression(), labels=labels)
    training_set = Dataset.from_dict({"text": [example.prompt for example in rows.labeled], "label": truth})
    had_progress_bars = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        with tempfile.TemporaryDirectory() as folder:
            recipe = TrainingArguments(output_dir=folder, seed=config.seed, report_to="none", save_strategy="no")
            trainer = Trainer(model, recipe, train_dataset=training_set)
            trainer.pop_callback(ProgressCallback)
            trainer.train()
    finally:
        if had_progress_bars:
            enable_progress_bars()
    shares = model.predict_proba([example.prompt for example in rows.test], as_numpy=True, show_progress_bar=False)
    return _surest(labels, shares)


def selected(answers: Predictions, config: Config) -> list[int]:
    """The positions of the answers that are kept as pseudo-labels, by the θ and the groups of `select`; in order."""
    if not config.select.enabled:
        return list(range(len(answers)))
    groups: dict[str, list[int]] = {}
    for index, (answer, _) in enumerate(answers):
        groups.setdefault(answer if config.select.per_answer else "", []).append(index)
    positions = []
    for members in groups.values():
        h = [-math.log(max(answers[index][1], 1e-300)) for index in members]
        tau = threshold(h, config.select.theta)
        positions += [index for index, nll in zip(members, h, strict=True) if nll <= tau]
    return sorted(positions)


def best_c(vectors: Embeddings, answers: Sequence[str], seed: int) -> float:
    """The C with the highest accuracy in a stratified cross-validation, the smallest of equals.

    `C` if an answer has one row only, for a fold would leave it out of the training.
    """
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    folds = min(MOST_FOLDS, int(np.unique(answers, return_counts=True)[1].min()))
    if folds < 2:
        return C
    search = GridSearchCV(
        classifier(C),
        {"C": GRID},
        cv=StratifiedKFold(folds, shuffle=True, random_state=seed),
        refit=False,
        error_score="raise",
    )
    return float(search.fit(vectors, answers).best_params_["C"])


def _embedder(config: Config) -> Callable[[Sequence[Example]], Embeddings]:
    from semievol.retrieval.dense import Embedder

    embedder = Embedder(config.retrieval.embedder)
    return lambda examples: embedder.embed([example.prompt for example in examples])


def _truth(labeled: Sequence[Example]) -> list[str]:
    answers = [str(example.answer) for example in labeled]
    if len(set(answers)) < 2:
        raise ConfigError("evaluate.baselines: a classifier needs two different answers in the labeled rows")
    return answers


def _answers(model: Any, vectors: Embeddings) -> Predictions:
    return _surest(model.classes_, model.predict_proba(vectors))


def _surest(answers: Sequence[str], shares: Embeddings) -> Predictions:
    """The likeliest answer of each row of probabilities (N, answers)."""
    return [(str(answers[row.argmax()]), float(row.max())) for row in shares]


BASELINES: Mapping[str, Callable[[Config, BaselineRows], Predictions]] = {
    "logistic_regression": logistic_regression,
    "self_trained_logistic_regression": self_trained_logistic_regression,
    "setfit": setfit,
}
READ_UNLABELED = frozenset({"self_trained_logistic_regression"})
"""The baselines whose answers depend on the unlabeled rows and on the rule of selection."""
