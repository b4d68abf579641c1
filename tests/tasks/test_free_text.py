"""Free text: what the answer is, and when two are the same."""

import pytest

from semievol.config import TaskConfig
from semievol.records import Example
from semievol.tasks.free_text import FreeText, token_f1

ROW = Example(id="1", prompt="Who?")


def task(**options):
    return FreeText(TaskConfig(kind="free_text", **options), [])


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (" Marie Curie \n", "Marie Curie"),
        ("Answer: Marie Curie", "Marie Curie"),
        ("Let me think.\n**Final answer:** Marie\nCurie", "Marie\nCurie"),
        ("Answer: x\nAnswer: y", "y"),
        ("She said the answer: no", "She said the answer: no"),
        ("Answer:", None),
        (" ", None),
    ],
)
def test_the_answer_follows_the_last_answer_line(text, answer):
    assert task().parse(text, ROW) == answer


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("The Eiffel Tower.", "eiffel  tower", True),
        ("Eiffel", "Eiffel Tower", False),
        ("3.5", "35", False),
        ("-3", "3", False),
        ("(3)", "3", True),
        ("C++", "C", False),
        ("the", "a", False),
        ("U.S.", "u s", True),
    ],
)
def test_exact_evens_out_case_punctuation_articles_and_spaces(one, other, same):
    assert task().equal(one, other) is same


def test_fuzzy_allows_typing_errors():
    assert task(match="fuzzy").equal("Marie Curie", "Marie Curye")
    assert not task(match="fuzzy").equal("Marie Curie", "Pierre Curie")
    assert task(match="fuzzy", threshold=0.5).equal("Marie Curie", "Pierre Curie")


def test_token_f1_counts_shared_words():
    assert token_f1(["x", "y"], ["x", "y", "z", "z"]) == pytest.approx(2 / 3)
    assert token_f1([], []) == token_f1(["x"], ["y"]) == 0
    assert task(match="token_f1").equal("the tall Eiffel Tower", "tall Eiffel Tower in Paris") is False
    assert task(match="token_f1", threshold=0.7).equal("the tall Eiffel Tower", "tall Eiffel Tower in Paris")


def test_long_candidates_stand_on_lines_of_their_own():
    (chat,) = task().justify(ROW, ["yes\nno", "maybe"])
    assert chat["content"] == (
        "Answer the question. Give the answer only.\n\nQuestion: Who?\n"
        "Suggested answers, which may be wrong:\n- yes\nno\n- maybe\nGive the final answer.\nAnswer:"
    )
