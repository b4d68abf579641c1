import pytest

from semievol.data.answers import Answers


def test_answers_are_found_by_id_and_keep_their_order():
    pairs = {f"row-{number}": None if number % 7 == 0 else f"a{number % 5}" for number in range(10_000)}
    answers = Answers(pairs.items())
    assert list(answers) == list(pairs)
    assert answers == pairs
    assert answers["row-8"] == "a3"
    assert answers["row-7"] is None
    assert "row-7" in answers


@pytest.mark.parametrize("pairs", [[], [("row-1", "a")]])
def test_an_unknown_id_is_not_found(pairs):
    answers = Answers(pairs)
    assert len(answers) == len(pairs)
    assert answers.get("row-2") is None
    assert "row-2" not in answers
    with pytest.raises(KeyError):
        answers["row-2"]
