"""Letters: how gold answers and chatty responses are read."""

import pytest

from semievol.config import TaskConfig
from semievol.errors import DataError
from semievol.records import Example
from semievol.tasks.multiple_choice import MultipleChoice

METALS = ("iron", "hydrogen", "zinc oxide", "zinc")


def example(answer=None, options=METALS):
    return Example(id="1", prompt="Which is a gas?", answer=answer, options=tuple(options))


def task(*labeled):
    return MultipleChoice(TaskConfig(kind="multiple_choice"), labeled)


@pytest.mark.parametrize(
    ("given", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        (" (B) ", "B"),
        ("B.", "B"),
        ("d)", "D"),
        ("2", "B"),
        ("4", "D"),
        ("hydrogen", "B"),
        ("Hydrogen.", "B"),
        ("zinc", "D"),
        ("zinc  Oxide", "C"),
        ("Answer: C", "C"),
        ("B. hydrogen", "B"),
    ],
)
def test_a_gold_answer_becomes_a_letter(given, letter):
    assert task().normalize(example(given)).answer == letter


@pytest.mark.parametrize("given", ["F", "5", "0", "E", "copper", "AB", "B. iron", "-1", "B or C"])
def test_any_other_gold_answer_is_refused(given):
    with pytest.raises(DataError, match="is not one of the 4 options"):
        task().normalize(example(given))


@pytest.mark.parametrize(("options", "message"), [((), "no options"), (("x",), "are 1"), (("x",) * 27, "are 27")])
def test_two_to_26_options_are_needed(options, message):
    with pytest.raises(DataError, match=message):
        task().normalize(example("A", options))
    with pytest.raises(DataError, match=message):
        task().normalize(example(None, options))


def test_26_options_reach_z():
    many = example("Z", [f"option {i}" for i in range(26)])
    assert task().normalize(many).answer == task().parse("Answer: Z", many) == "Z"


def test_text_shared_by_two_options_does_not_name_one():
    with pytest.raises(DataError, match="the text of 2 options; give the letter"):
        task().normalize(example("iron", ("iron", "iron", "zinc")))
    assert task().normalize(example("B", ("iron", "iron", "zinc"))).answer == "B"


AMBIGUOUS = ("2", "3", "4", "5")


def test_an_ambiguous_number_is_the_text_unless_the_labeled_rows_hold_keys():
    assert task().normalize(example("3", AMBIGUOUS)).answer == "B"
    assert task(example("3"), example("D")).normalize(example("3", AMBIGUOUS)).answer == "C"
    assert task(example("iron")).normalize(example("3", AMBIGUOUS)).answer == "B"


def test_an_ambiguous_letter_is_the_letter_unless_the_labeled_rows_hold_texts():
    blood = ("O", "A", "B", "AB")
    assert task().normalize(example("B", blood)).answer == "B"
    assert task(example("A")).normalize(example("B", blood)).answer == "B"
    assert task(example("iron")).normalize(example("B", blood)).answer == "C"


def test_letters_that_stand_in_the_options_are_not_shown_twice():
    one = task().normalize(example("B", ("A. iron", "B. zinc", "C. lead")))
    assert one.options == ("iron", "zinc", "lead")
    assert task().normalize(example("B. zinc", ("(A) iron", "(B) zinc"))).answer == "B"
    assert task().normalize(example("B", ("A. iron", "zinc"))).options == ("A. iron", "zinc")


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        (" b", "B"),
        ("b)", "B"),
        ("B.", "B"),
        ("(B)", "B"),
        ("**B**", "B"),
        ("Ｂ", "B"),
        ("Answer: B", "B"),
        ("answer: b", "B"),
        ("**Answer: B**", "B"),
        ("**Answer:** (B)", "B"),
        ("Answer:\n\nB", "B"),
        ("Answer: B. hydrogen", "B"),
        ("Answer: B hydrogen", "B"),
        ("Answer: A because iron is a metal", "A"),
        ("Answer: option C", "C"),
        ("Answer: hydrogen", "B"),
        ("The correct answer is zinc oxide, since it smokes", "C"),
        ("The answer is $\\boxed{B}$.", "B"),
        ("The correct answer is (B) because it is light.", "B"),
        ("The correct answer to this question is: B", "B"),
        ("Answer: A\nNo, wait.\nAnswer: B", "B"),
        ("I compared (A) with (C). Answer: D", "D"),
        ("hydrogen", "B"),
        ("Hydrogen.\nIt is light.", "B"),
        ("B. hydrogen", "B"),
        ("B) because it is light", "B"),
        ("It must be (B), a gas.", "B"),
        ("I would choose option B here.", "B"),
        ("Option C is right.", "C"),
        ("I think it is B.", "B"),
        ("b) hydrogen", "B"),
        ("B - hydrogen", "B"),
        ("B, because it is light", "B"),
        ("Answer B", "B"),
        ("A is correct", "A"),
        ("Therefore, C.", "C"),
        ("A dog is not a gas, so it is B", "B"),
    ],
)
def test_a_letter_is_read_from_a_response(text, letter):
    assert task().parse(text, example()) == letter


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "A dog is an animal",
        "I think so",
        "The answer is a dog",
        "The answer is A dog",
        "B or C",
        "(B) or (C)",
        "Between A and C",
        "A is wrong and B is wrong",
        "Answer: B or C",
        "B\nC",
        "A. iron\nB. hydrogen\nC. zinc oxide\nD. zinc",
        "E",
        "Answer: F",
        "Bananas are yellow",
        "The patient has hepatitis B",
        "the answer is not clear",
        "42",
    ],
)
def test_no_letter_is_read_where_none_or_two_are_claimed(text):
    assert task().parse(text, example()) is None


def test_options_that_are_letters_numbers_or_refer_to_others():
    assert task().parse("C", example(options=("C", "NO2", "O2", "CO"))) == "C"
    assert task().parse("~A", example(options=("A", "~A", "B", "~B"))) == "B"
    assert task().parse("3", example(options=AMBIGUOUS)) == "B"
    assert task().parse("Answer: 3.5", example(options=("3", "35", "3.5"))) == "C"
    assert task().parse("Answer: 3.5", example(options=("3", "35", "4"))) is None
    assert task().parse("Answer: Both A and B", example(options=("x", "y", "Neither", "both A and B"))) == "D"
    assert task().parse("Answer: E. coli", example(options=("E. coli", "S. aureus", "a", "b", "c"))) == "A"
    assert task().parse("No, it does not.\nAnswer: No, because", example(options=("No", "Maybe", "Yes"))) == "A"


def test_the_prompt_word_for_word():
    solved = task().normalize(example("B"))
    (chat,) = task().messages(example(), [solved])
    block = "Question: Which is a gas?\nA. iron\nB. hydrogen\nC. zinc oxide\nD. zinc\nAnswer:"
    assert chat["content"] == f"Choose the right option. Answer with its letter only.\n\n{block} B\n\n{block}"
    assert task().response(solved) == "B"
