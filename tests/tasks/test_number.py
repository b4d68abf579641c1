"""Numbers: how they are written, found and compared."""

import pytest

from semievol.config import TaskConfig
from semievol.errors import DataError
from semievol.records import Example
from semievol.tasks.number import Number

SOLUTION = "40 - 4 = <<40-4=36>>36 items.\nHalf is $<<36/2=18>>18.\n#### 1,018"


def row(answer=None, **more):
    return Example(id="1", prompt="How many?", answer=answer, **more)


def task(labeled=(), **options):
    return Number(TaskConfig(kind="number", **options), labeled)


WRITTEN = [
    ("1,234.5", "1234.5"),
    ("$1.2", "1.2"),
    ("-$1.2", "-1.2"),
    ("$-1.2", "-1.2"),
    ("12%", "12%"),
    ("12.50 percent", "12.5%"),
    ("-3", "-3"),
    ("+3", "3"),
    ("(3)", "-3"),
    ("($1,234)", "-1234"),
    ("1/2", "0.5"),
    ("1 1/2", "1.5"),
    ("1/3", "0.333333333333"),
    ("-1/4", "-0.25"),
    ("3.5 million", "3500000"),
    ("2 Billion", "2000000000"),
    ("1e-3", "0.001"),
    ("2.5E+3", "2500"),
    ("−5", "-5"),
    ("€7", "7"),
    ("7 €", "7"),
    ("72.", "72"),
    (".5", "0.5"),
    ("348.0", "348"),
    ("0.0", "0"),
    ("-0", "0"),
    ("007", "7"),
    ("72 dollars", "72"),
    ("5kg", "5"),
    ("Answer: 348.0", "348"),
    ("65468000000.0", "65468000000"),
]


@pytest.mark.parametrize(("given", "answer"), WRITTEN)
def test_a_gold_answer_becomes_plain_decimal_text(given, answer):
    assert task().normalize(row(given)).answer == answer


@pytest.mark.parametrize(
    "given", ["many", "2-5", "1/0", "3 4", "B12", "1e999", "1" * 80, "2010-01-02", "x = 5", "1/2/2010", "½"]
)
def test_what_is_not_one_number_is_refused(given):
    with pytest.raises(DataError, match="is not a number"):
        task().normalize(row(given))


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ("1.234,56", "1234.56"),
        ("12,5", "12.5"),
        ("1.234", "1234"),
        ("-7,250 kg", "-7.25"),
        ("1 000 000,5", "1000000.5"),
    ],
)
def test_a_decimal_comma_is_an_option(given, answer):
    comma = task(decimal_mark="comma")
    assert comma.normalize(row(given)).answer == answer
    assert comma.parse(f"Answer: {given}", row()) == answer
    assert comma.parse(f"That makes {given}", row()) == answer


@pytest.mark.parametrize("given", ["1.234,56", "12,5", "1,5"])
def test_a_number_with_the_other_decimal_mark_is_refused_with_the_option_and_read_from_no_response(given):
    with pytest.raises(DataError, match=r"is a number with a decimal comma; set task\.decimal_mark"):
        task().normalize(row(given))
    assert task().parse(given, row()) is None
    assert task().parse(f"The answer is {given}.", row()) is None


@pytest.mark.parametrize(
    ("given", "noted"),
    [
        (["1.234", "2.500", "12.000", "7.250"], True),
        (["1.234", "2.5"], False),
        (["0.125", "0.250"], False),
        (["1.234"], False),
        (["12", "13"], False),
    ],
)
def test_a_column_whose_points_may_be_thousands_is_noted(given, noted):
    rows = [row(each) for each in given]
    notes = task(rows).notes(rows)
    assert [f"all {len(given)} labeled answers with a point have three digits behind it" in each for each in notes] == (
        [True] * noted
    )


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ("$5m", "5000000"),
        ("5m", "5"),
        ("$ 5 M", "5000000"),
        ("US$1.2bn", "1200000000"),
        ("USD 3k", "3000"),
        ("3.5 Mio. €", "3500000"),
        ("2 Mrd", "2000000000"),
        ("1,00,000", "100000"),
        ("3 crore", "30000000"),
        ("1'000'000", "1000000"),
        ("10 000 km", "10000"),
        ("3 400", "3400"),
        ("3 × 10^5", "300000"),
        ("-\\frac{1}{2}", "-0.5"),
        ("1\\frac{1}{2}", "1.5"),
        ("\\$1,000", "1000"),
        ("５万", "50000"),
    ],
)
def test_scales_groups_and_latex_are_read(given, answer):
    assert task().normalize(row(given)).answer == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("24", "24"),
        ("Answer: 24", "24"),
        ("**Answer:** $1,024.50.", "1024.5"),
        ("The answer is 24 apples in 2 boxes.", "24"),
        ("The answer is 5 + 3 = 8.", "8"),
        ("Answer: 1\nAnswer: 2\nThat took 3 steps", "2"),
        ("He buys 3 and 4, so 7 in all", "7"),
        ("40-4=36", "36"),
        ("(5)-3", "3"),
        ("It fell by -2.5%", "-2.5%"),
        ("from 3 – 5", "5"),
        ("\\boxed{42}", "42"),
        ("Answer: (3)", "-3"),
        ("see (3)", "3"),
        ("version B12", None),
        ("no idea", None),
        ("Answer: none", None),
        ("", None),
    ],
)
def test_a_number_is_read_from_a_response(text, answer):
    assert task().parse(text, row()) == answer


def test_the_pattern_comes_before_everything_else():
    gsm8k = task(answer_pattern="#### (.+)")
    assert gsm8k.parse("#### 3\nno\n#### 4\nAnswer: 5 6", row()) == "4"
    assert gsm8k.parse("Answer: 5 or so, 6", row()) == "5"
    assert gsm8k.parse("#### none, but 7", row()) == "7"


def test_a_worked_solution_trains_without_calculator_marks():
    gsm8k = task([row(SOLUTION)], answer_pattern="#### (.+)")
    one = gsm8k.normalize(row(SOLUTION))
    assert one.answer == "1018"
    assert gsm8k.response(one) == "40 - 4 = 36 items.\nHalf is $18.\n#### 1,018"
    assert gsm8k.response(row("7")) == "#### 7"
    (chat,) = gsm8k.messages(one)
    instruction = 'Solve the problem step by step, then end with "#### <answer>".'
    assert chat["content"] == f"{instruction}\n\nQuestion: How many?\nSolution:"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("100", "101", True),
        ("100", "102", False),
        ("-3", "3", False),
        ("0", "0", True),
        ("0", "0.0001", False),
        ("12%", "0.12", True),
        ("12%", "12", True),
        ("12%", "12.1%", True),
        ("12", "0.12", False),
        ("12%", "1200", False),
        ("0%", "0", True),
        ("x", "x", True),
        ("x", "3", False),
    ],
)
def test_numbers_are_compared_by_relative_error_and_percent_both_ways(one, other, same):
    assert task().equal(one, other) is same
    assert task().equal(other, one) is same


def test_a_tolerance_of_zero_wants_the_same_number():
    exact = task(relative_tolerance=0)
    assert exact.equal("0.5", "0.50")
    assert not exact.equal("0.5", "0.5001")


def test_the_prompt_word_for_word():
    (chat,) = task().messages(row(), [row("3")])
    block = "Question: How many?\nAnswer:"
    assert chat["content"] == f"Answer the question with a number only.\n\n{block} 3\n\n{block}"
    (chat,) = task().justify(row(), ["3", "3.00", "4"])
    suggested = "Suggested answers, which may be wrong: 3; 4\nGive the final answer."
    assert chat["content"] == (f"Answer the question with a number only.\n\nQuestion: How many?\n{suggested}\nAnswer:")
