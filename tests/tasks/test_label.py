"""Labels: the closed set, renaming, and labels in responses."""

import pytest

from semievol.config import TaskConfig
from semievol.errors import ConfigError, DataError
from semievol.records import Example
from semievol.tasks.label import Label

NAMES = ("negative", "neutral", "positive")


def row(answer):
    return Example(id="1", prompt="Profit rose.", answer=answer)


def task(*labels, rows=(), **options):
    return Label(TaskConfig(kind="label", labels=labels, **options), [row(one) for one in rows])


def test_labels_come_from_the_config_in_its_order_or_from_the_labeled_rows_sorted():
    assert task("up", "down").answers() == ("up", "down")
    assert task(rows=["up", "down", "up", None]).answers() == ("down", "up")


def test_spellings_of_one_label_are_merged_into_the_more_frequent():
    assert task(rows=["Oil", "oil", "Oil", "gas"]).answers() == ("Oil", "gas")
    assert task(rows=["Oil", "oil", "Oil", "gas"]).normalize(row("oil")).answer == "Oil"


@pytest.mark.parametrize(("rows", "found"), [([], "none"), (["x", "x"], "only 'x'")])
def test_fewer_than_two_labels_are_no_task(rows, found):
    with pytest.raises(DataError, match=f"at least 2 labels and there is {found}"):
        task(rows=rows)


def test_labels_that_differ_only_in_case_are_refused():
    with pytest.raises(ConfigError, match="differ only in case"):
        task("Up", "down", label_names={"Up": "x", "down": "X"})


def test_labels_are_renamed_from_either_side():
    names = {"money-fx": "foreign exchange"}
    for one in (
        task("money-fx", "oil", label_names=names),
        task("foreign exchange", "oil", label_names=names),
        task(rows=["money-fx", "oil"], label_names=names),
    ):
        assert set(one.answers()) == {"foreign exchange", "oil"}
        assert one.normalize(row("money-fx")).answer == "foreign exchange"
        assert one.normalize(row("foreign exchange")).answer == "foreign exchange"
        assert one.parse("money-fx", row(None)) == "foreign exchange"


def test_a_rare_label_is_known_from_its_renaming():
    assert task(rows=["a", "b"], label_names={"c": "see"}).normalize(row("c")).answer == "see"


def test_a_renaming_of_no_label_is_refused():
    with pytest.raises(ConfigError, match=r"'ois' is not one of task.labels; did you mean 'oil'"):
        task("oil", "gas", label_names={"ois": "crude"})
    with pytest.raises(ConfigError, match="which is renamed itself"):
        task("a", "b", label_names={"a": "b", "b": "a"})


def test_an_unknown_gold_answer_names_the_labels_and_the_nearest():
    message = "answer 'postive' is not one of the labels negative, neutral, positive; did you mean 'positive'?"
    with pytest.raises(DataError) as caught:
        task(*NAMES).normalize(row("postive"))
    assert str(caught.value) == message
    with pytest.raises(DataError, match=r"positive$"):
        task(*NAMES).normalize(row("42"))


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("positive", "positive"),
        (" Positive. ", "positive"),
        ('"positive"', "positive"),
        ("**POSITIVE**", "positive"),
        ("Answer: positive", "positive"),
        ("Topic: positive", "positive"),
        ("The sentiment is positive.", "positive"),
        ("The sentiment of this text is neutral", "neutral"),
        ("positive or negative? Answer: positive", "positive"),
        ("Answer: negative\nAnswer: neutral", "neutral"),
        ("positive\n\nThe text is not negative but speaks of neutral things", "positive"),
        ("I would call this rather positive, I think", "positive"),
        ("This is not positive, it is neutral", "neutral"),
        ("It isn't negative; neutral", "neutral"),
        ("", None),
        ("not positive", None),
        ("non-positive", None),
        ("positive or negative", None),
        ("positively", None),
        ("nothing of the kind", None),
        ("Answer:", None),
    ],
)
def test_a_label_is_read_from_a_response(text, label):
    assert task(*NAMES).parse(text, row(None)) == label


def test_the_longest_label_counts():
    reuters = task("money", "money-fx", "interest", "not spam", "spam", "C", "C++", "-1", "1")
    assert reuters.parse("I say Money FX here", row(None)) == "money-fx"
    assert reuters.parse("money_fx", row(None)) == "money-fx"
    assert reuters.parse("it is not spam", row(None)) == "not spam"
    assert reuters.parse("C++", row(None)) == "C++"
    assert reuters.parse("C", row(None)) == "C"
    assert reuters.parse("-1", row(None)) == "-1"
    assert reuters.parse("1", row(None)) == "1"


def test_the_prompt_word_for_word():
    (chat,) = task(*NAMES).messages(row(None), [row("neutral")])
    instruction = "Classify the text. Answer with one of these labels only: negative, neutral, positive."
    block = "Text: Profit rose.\nAnswer:"
    assert chat["content"] == f"{instruction}\n\n{block} neutral\n\n{block}"


def test_labels_with_commas_are_listed_with_semicolons():
    (chat,) = task("a, b", "c").messages(row(None))
    assert "only: a, b; c." in chat["content"]
