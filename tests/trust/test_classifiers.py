"""The views over embeddings, with embeddings of known places."""

import numpy as np
import pytest

from semievol.config import RetrievalConfig
from semievol.records import Example
from semievol.trust import View, classifiers, open_view

PLACES = {"north": [0.0, 1.0], "northish": [0.1, 0.995], "east": [1.0, 0.0], "eastish": [0.995, 0.1]}
CLASSES = ("up", "right", "never")


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Embeddings by name."""
    monkeypatch.setattr(classifiers, "_embedded", lambda source, prompts: np.array([PLACES[p] for p in prompts]))


def examples(*prompts: str) -> list[Example]:
    """Rows with these prompts."""
    return [Example(prompt, prompt) for prompt in prompts]


def learned(kind: str, *answers: str) -> View:
    """A view that knows the four places by these answers."""
    view = open_view(kind, RetrievalConfig(), CLASSES)
    view.fit(examples(*PLACES), answers)
    return view


@pytest.mark.parametrize("kind", ["logistic_regression", "nearest_neighbours"])
def test_a_view_is_a_distribution_in_which_nothing_is_impossible(kind: str) -> None:
    told = learned(kind, "up", "up", "right", "right").probabilities(examples("north", "east"))
    assert told.shape == (2, 3)
    assert told.sum(axis=1) == pytest.approx([1.0, 1.0])
    assert (told > 0).all()


def test_logistic_regression_knows_the_places() -> None:
    told = learned("logistic_regression", "up", "up", "right", "right").probabilities(examples("northish", "eastish"))
    assert told.argmax(axis=1).tolist() == [0, 1]
    assert told[0, 2] < 0.001


def test_logistic_regression_with_one_answer_says_that() -> None:
    told = learned("logistic_regression", *["right"] * 4).probabilities(examples("north"))
    assert told.argmax() == 1


def test_neighbours_vote_and_the_shares_of_the_answers_smooth_it() -> None:
    told = learned("nearest_neighbours", "up", "up", "right", "up").probabilities(examples("north"))
    votes = np.array([3 + 0.75, 1 + 0.25, 0.0]) + 0.05
    assert told[0] == pytest.approx(votes / votes.sum())


@pytest.mark.parametrize("kind", ["logistic_regression", "nearest_neighbours"])
def test_no_rows_are_no_rows(kind: str) -> None:
    assert learned(kind, "up", "up", "right", "right").probabilities([]).shape == (0, 3)
