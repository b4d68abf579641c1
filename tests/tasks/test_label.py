"""Labels: the closed set, renaming, and labels in responses."""

import pytest
from tests.clock import seconds

from semievol.config import TaskConfig, build
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


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        (["A*", "A", "A*"], ("A", "A*")),
        (["<30", ">30"], ("<30", ">30")),
        (["m²", "m2"], ("m2", "m²")),
        (["US", "us"], ("US", "us")),
        (["C", "C++", "C#"], ("C", "C#", "C++")),
        (["1", "-1"], ("-1", "1")),
        (["v1.0", "v1"], ("v1", "v1.0")),
        (["positive\u200b", "positive\u00a0", "negative "], ("negative", "positive")),
        (["1", "1", "1.0", "0"], ("0", "1")),
        (["1.0", "1", "0"], ("0", "1")),
        (["caf\u00e9", "cafe\u0301", "bar"], ("bar", "caf\u00e9")),
    ],
)
def test_labels_are_what_they_are_and_what_looks_the_same_is_one(rows, labels):
    one = task(rows=rows)
    assert one.answers() == labels
    assert {one.normalize(row(each)).answer for each in rows} == set(labels)


def noted(rows, *labels, **options):
    given = [row(each) for each in rows]
    one = Label(TaskConfig(kind="label", labels=labels, **options), given)
    for each in given:
        one.normalize(each)
    return one.notes(given)


@pytest.mark.parametrize(
    ("rows", "labels", "note"),
    [
        (["1", "1", "1.0", "0"], (), "'1' (2 rows) and '1.0' (1 row) in the answer columns are the one label '1'"),
        (
            ["yes\u200b", "yes", "yes", "no"],
            (),
            "'yes\\u200b' (1 row) and 'yes' (2 rows) in the answer columns are the one label 'yes'",
        ),
        (
            ["Yes", "no", "NO", "no"],
            ("yes", "no"),
            "'no' (2 rows) and 'NO' (1 row) in the answer columns are the one label 'no'",
        ),
        (["Yes", "no"], ("yes", "no"), "'Yes' (1 row) in the answer columns are the one label 'yes'"),
        (["US", "us", "US", "it"], (), "'US' (2 rows) and 'us' (1 row) are 2 labels, which differ in case or marks"),
        (["clean, quiet", "rude"], (), "the answers 'clean, quiet' look like several labels in one cell"),
        (["clean/quiet", "clean", "rude"], (), "the answers 'clean/quiet' look like several labels in one cell"),
        (["clean, quiet", "clean", "rude"], (), "the answers 'clean, quiet' look like several labels in one cell"),
    ],
)
def test_what_is_folded_alike_or_a_list_is_noted_with_its_counts(rows, labels, note):
    assert [each for each in noted(rows, *labels) if note in each]


def test_plain_labels_are_not_noted():
    assert noted(["read/write", "oil", "money-fx", "oil"]) == ()
    assert noted(["alt.atheism", "b"], label_names={"alt.atheism": "religion"}) == ()


def test_labels_that_differ_in_case_are_one_by_a_renaming():
    assert task(rows=["Oil", "oil", "gas"], label_names={"oil": "Oil"}).answers() == ("Oil", "gas")


@pytest.mark.parametrize(("rows", "found"), [([], "none"), (["x", "x"], "only 'x'")])
def test_fewer_than_two_labels_are_no_task(rows, found):
    with pytest.raises(DataError, match=f"at least 2 labels and there is {found}"):
        task(rows=rows)


def test_labels_that_look_the_same_are_refused():
    with pytest.raises(ConfigError, match="look the same"):
        task("Up", "Up\u200b", "down")


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


DENIED = [
    ("There is no positive sentiment", None),
    ("There is no clear positive sentiment here", None),
    ("not exactly positive", None),
    ("I don't think it is positive", None),
    ("I do not believe that this is a positive review", None),
    ("I do not know, but it is positive", "positive"),
    ("I can't help but feel positive", "positive"),
    ("It is not negative but positive", "positive"),
    ("'positive' is not correct", None),
    ("Positive would be wrong; the answer is neutral", "neutral"),
    ("Positive is not in doubt", "positive"),
    ("Not only is it positive, it is glowing", "positive"),
    ("There is no doubt that it is positive", "positive"),
    ("This is not at all positive. It's negative.", "negative"),
    ("neither positive nor negative", None),
    ("barely positive", "positive"),
    ("I can't say for sure but it's positive", "positive"),
    ("without a doubt positive", "positive"),
    ("This isn't about anything positive", None),
    ("The post is not about negative things; it is about positive ones", "positive"),
    ("neither positive nor negative: neutral", "neutral"),
]


@pytest.mark.parametrize(("text", "label"), DENIED)
def test_what_is_denied_is_no_answer(text, label):
    assert task(*NAMES).parse(text, row(None)) == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("The post isn't about computers; it's about religion.", "religion"),
        ("It does not mention sports but computers", "computers"),
        ("This is not related to religion", None),
        ("not only about computers", "computers"),
    ],
)
def test_a_topic_that_a_text_is_not_about_is_denied(text, label):
    assert task("computers", "religion", "sports").parse(text, row(None)) == label


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (("positiv", "negativ"), "Das ist nicht wirklich positiv"),
        (("positiv", "negativ"), "keineswegs positiv"),
        (("positif", "négatif"), "Ce n'est pas vraiment positif"),
        (("positivo", "negativo"), "não é positivo"),
        (("positivo", "negativo"), "no es positivo"),
        (("positivo", "negativo"), "non è positivo"),
        (("pozytywny", "negatywny"), "To nie jest pozytywny"),
        (("إيجابي", "سلبي"), "ليس إيجابي"),
        (("सकारात्मक", "नकारात्मक"), "यह सकारात्मक नहीं है"),
        (("正面", "负面"), "这不能说是正面的"),
        (("正面", "负面"), "并不正面"),
        (("ポジティブ", "ネガティブ"), "ポジティブとは言えない"),
        (("ポジティブ", "ネガティブ"), "ポジティブではありません"),
        (("긍정", "부정"), "긍정이 아닙니다"),
        (("긍정", "부정"), "긍정적이지 않습니다"),
    ],
)
def test_a_label_is_denied_in_other_languages_too(labels, text):
    assert task(*labels).parse(text, row(None)) is None


@pytest.mark.parametrize(
    ("labels", "text", "label"),
    [
        (("yes", "no"), "No it does not", "no"),
        (("yes", "no"), "No - it is bad", "no"),
        (("yes", "no"), "No, because yes would be wrong", "no"),
        (("yes", "no"), "Answer: no, because yes would be wrong", "no"),
        (("yes", "no"), "Yes it is, without doubt", "yes"),
        (("yes", "no"), "It is not no", None),
        (("yes", "no"), "I have no idea", None),
        (("긍정", "부정"), "긍정입니다", "긍정"),
        (("긍정", "부정"), "이 리뷰는 긍정적입니다.", "긍정"),
        (("A", "A*", "B"), r"A\*", "A*"),
        (("A", "A*", "B"), r"Grade: A\*", "A*"),
        (("A", "B"), "A good one", None),
        (("A", "B"), "A because it fits", "A"),
        (("A", "B"), "It is B", "B"),
        (("won't", "will"), "won’t", "won't"),
        (("won’t", "will"), "It won't.", "won’t"),
        (("money–fx", "grain"), "money-fx", "money–fx"),
        (("money-fx", "grain"), "Topic: money – fx", "money-fx"),
        (("❤", "👎"), "❤️", "❤"),
        (("👨\u200d👩", "👎"), "👨\u200d👩", "👨\u200d👩"),
        (("yes", "no"), "\u202byes\u202c", "yes"),
        (("yes", "no"), "ye\x00s\x1b", "yes"),
        (("کتاب\u200cها", "نه"), "کتاب\u200cها", "کتاب\u200cها"),
    ],
)
def test_labels_are_read_as_they_are_said(labels, text, label):
    assert task(*labels).parse(text, row(None)) == label


@pytest.mark.parametrize(
    ("labels", "text", "label"),
    [
        (("-1", "0", "1"), "minus 1", "-1"),
        (("-1", "0", "1"), "The score is negative 1.", "-1"),
        (("0", "1"), "minus 1", None),
        (("-1", "0", "1"), "+1", "1"),
        (("-1", "0", "1"), "I would say +1 here", "1"),
        (("-1", "0", "+1"), "+1", "+1"),
        (("-1", "0", "1"), "score=-1", "-1"),
        (("-1", "0", "1"), "0 - 1", None),
        (("1", "2", "3", "4", "5"), "<4", None),
        (("1", "2", "3", "4", "5"), "less than <4 stars", None),
        (("1", "2", "3", "4", "5"), "4 (out of 5)", "4"),
        (("1", "2", "3", "4", "5"), "I give it 4 (out of 5) stars", "4"),
        (("18-24", "25-34"), "18 - 24", "18-24"),
        (("18-24", "25-34"), "They are 18–24 years old", "18-24"),
        (("1", "2", "3"), "1+2", None),
    ],
)
def test_numbers_as_labels_keep_their_signs_and_ranges(labels, text, label):
    assert task(*labels).parse(text, row(None)) == label


@pytest.mark.parametrize(
    "text",
    [
        "computers, for sale, politics, or religion",
        "computers, for sale",
        "The subject is computers, for sale, politics and religion.",
        "The answer is computers, for sale, politics, religion",
        "Answer: computers, for sale",
    ],
)
def test_a_list_of_labels_is_no_answer(text):
    assert task("computers", "for sale", "politics", "religion").parse(text, row(None)) is None


def test_labels_that_are_renamed_apart_are_not_noted_as_alike():
    assert noted(["US", "us", "it"], label_names={"US": "United States"}) == ()


def test_thousands_of_labels_are_looked_for_in_a_moment():
    labels = [f"topic {number} of group {number % 37}" for number in range(5000)]
    one = task(*labels)
    text = "a topic in a group, " * 300
    one.parse(text, row(None))
    assert one.parse(text + labels[4321] + ".", row(None)) == labels[4321]
    assert seconds(lambda: one.parse(text, row(None))) < 0.5


def test_labels_that_begin_alike_are_each_found():
    labels = ["a" * length for length in range(2, 300)]
    assert task(*labels).parse(f"It must be {labels[150]}, I think", row(None)) == labels[150]


def test_what_labels_mean_stands_behind_the_instruction_in_their_order():
    meanings = {"n": "No mood\n at all.", "positive": "Good news."}
    one = task("positive", "n", label_names={"n": "neutral"}, label_descriptions=meanings)
    assert one.messages(row(None))[0]["content"].startswith(
        "Classify the text. Answer with one of these labels only: positive, neutral.\n"
        "positive: Good news.\n"
        "neutral: No mood at all.\n\n"
    )
    own = task("positive", "neutral", instruction="Which mood?", label_descriptions={"positive": "Good news."})
    assert own.instruction == "Which mood?\npositive: Good news."


def test_a_description_of_no_label_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"task.label_descriptions: 'positiv' is not one of the labels; did you mean"):
        task(*NAMES, label_descriptions={"positiv": "Good news."})
    with pytest.raises(ConfigError, match="a task of kind number has no labels"):
        build({"task": {"kind": "number", "label_descriptions": {"1": "one"}}})


def test_a_task_without_descriptions_is_what_it_was_before_there_were_any():
    assert "label_descriptions" not in TaskConfig().identity()
    assert "label_descriptions" in TaskConfig(label_descriptions={"a": "b"}).identity()
