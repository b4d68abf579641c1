"""Options in all the ways that files write them, and answers that count from 0."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from semievol.config import build
from semievol.data import examine, load, read_answers
from semievol.errors import ConfigError, DataError
from semievol.predict.inputs import read_inputs

METALS = ("iron", "zinc", "tin")


@pytest.fixture
def choice_config(tmp_path):
    """A multiple-choice config over labeled rows, which are written as JSON Lines."""

    def make(rows, name="labeled", columns=None, **data):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"question": f"which {at}?"} | row) + "\n" for at, row in enumerate(rows)))
        named = {"prompt": "question", "options": "options"} | (columns or {})
        return build(
            {
                "data": {"labeled": str(path), "unlabeled": None, "columns": named} | data,
                "task": {"kind": "multiple_choice"},
            }
        )

    return make


WRITTEN = {
    "letters": {"A": "iron", "B": "zinc", "C": "tin"},
    "small letters in another order": {"c": "tin", "a": "iron", "b": "zinc"},
    "numbers": {"1": "iron", "2": "zinc", "3": "tin"},
    "numbers from 0": {"0": "iron", "1": "zinc", "2": "tin"},
    "a letter that other rows have": {"A": "iron", "B": "zinc", "C": "tin", "D": None},
    "texts and labels": {"text": list(METALS), "label": ["A", "B", "C"]},
    "labels in another order": {"label": ["B", "A", "C"], "text": ["zinc", "iron", "tin"]},
    "pairs": [{"label": "(A)", "text": "iron"}, {"label": "(B)", "text": "zinc"}, {"label": "(C)", "text": "tin"}],
    "JSON": json.dumps({"A": "iron", "B": "zinc", "C": "tin"}),
    "Python": str({"A": "iron", "B": "zinc", "C": "tin"}),
    "NumPy": str({"text": np.array(METALS, dtype=object), "label": np.array(["A", "B", "C"], dtype=object)}),
}


@pytest.mark.parametrize("written", WRITTEN)
def test_options_with_names_are_read_in_their_order(choice_config, written):
    (example,) = load(choice_config([{"options": WRITTEN[written], "answer": "B"}])).labeled
    assert (example.options, example.answer) == (METALS, "B")


def test_options_of_a_parquet_struct_are_read(choice_config, tmp_path):
    rows = [{"A": "iron", "B": "zinc", "C": "tin"}, {"A": "iron", "B": "zinc"}]
    pq.write_table(pa.table({"question": ["p", "q"], "options": rows, "answer": ["C", "B"]}), tmp_path / "l.parquet")
    labeled = load(choice_config([], labeled=str(tmp_path / "l.parquet"))).labeled
    assert [each.options for each in labeled] == [METALS, METALS[:2]]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ({"A": "iron", "C": "tin"}, "the 2 options are called 'A', 'C'; letters from A"),
        ({"first": "iron", "second": "tin"}, "the 2 options are called 'first', 'second'"),
        ({"A": "iron", "a": "tin"}, "the 2 options are called 'A', 'a'"),
        ({"choices": list(METALS), "labels": [1, 0, 0]}, "the 3 options are called 1, 0, 0"),
        ({"text": list(METALS), "label": ["A", "B"]}, "the 3 options are called 'A', 'B'"),
        ({"A": "iron", "B": None, "C": "tin"}, "option 'B' is empty, and a later one is not"),
        ({}, "options"),
        ("{'A': iron}", "which cannot be read; write JSON"),
    ],
)
def test_options_whose_order_is_not_certain_are_refused_with_their_row(choice_config, cell, message):
    rows = [{"options": list(METALS), "answer": "A"}, {"options": cell, "answer": "A"}]
    with pytest.raises(DataError, match=rf"labeled.jsonl row 2 \(line 2\): .*{message}"):
        load(choice_config(rows))


def test_an_answer_that_is_the_name_of_an_option_is_that_option(choice_config):
    numbers = {"0": "4", "1": "0", "2": "1"}
    rows = [{"options": numbers, "answer": 1}, {"options": numbers, "answer": "0"}, {"options": numbers, "answer": "C"}]
    assert [each.answer for each in load(choice_config(rows)).labeled] == ["B", "A", "C"]


LETTERED = {"A": "iron", "B": "zinc", "C": "tin", "answer": "B"}


@pytest.mark.parametrize("columns", [{"options": "options"}, {"options": ["A", "B", "C"]}])
def test_options_may_stand_in_a_column_each(choice_config, columns):
    rows = [LETTERED, LETTERED | {"C": "", "answer": "A"}]
    labeled = load(choice_config(rows, columns=columns)).labeled
    assert [(each.options, each.answer) for each in labeled] == [(METALS, "B"), (METALS[:2], "A")]


@pytest.mark.parametrize("row", [LETTERED, {"options": WRITTEN["texts and labels"], "answer": "B"}])
def test_predict_reads_options_as_the_run_does(choice_config, row):
    config = choice_config([row])
    dataset = load(config)
    (given,) = read_inputs(config, dataset.task, dataset.layout, config.data.labeled).rows
    assert given.example.options == METALS


def test_an_answer_may_name_the_column_of_its_option(choice_config):
    row = {"opa": "iron", "opb": "zinc", "answer": "opb"}
    assert load(choice_config([row], columns={"options": ["opa", "opb"]})).labeled[0].answer == "B"


def test_an_empty_column_between_options_is_refused(choice_config):
    with pytest.raises(DataError, match=r"row 1 .*option 'B' is empty"):
        load(choice_config([LETTERED | {"B": ""}]))


def test_a_misspelt_column_of_options_is_not_taken_for_columns_of_letters(choice_config):
    with pytest.raises(DataError, match=r"no column 'optoins' .* Did you mean 'options'"):
        load(choice_config([LETTERED | {"options": list(METALS)}], columns={"options": "optoins"}))
    with pytest.raises(DataError, match=r"no column 'E' \(data\.columns\.options\)"):
        load(choice_config([LETTERED], columns={"options": ["A", "E"]}))


def test_a_column_of_an_option_is_nothing_else(choice_config):
    with pytest.raises(ConfigError, match=r"data\.columns\.options: 'B' is the answer column"):
        load(choice_config([LETTERED], columns={"options": ["A", "B"], "answer": "B"}))


def numbered(*answers):
    return [{"options": list(METALS), "answer": answer} for answer in answers]


@pytest.mark.parametrize(("first", "letters"), [(None, "ABC"), (1, "ABC"), (0, "BC")])
def test_the_number_of_the_first_option_can_be_set(choice_config, tmp_path, first, letters):
    rows = numbered(1, "2", *([3.0] if first == 1 else [3] if first is None else []))
    truth = choice_config(rows, "unlabeled").data.labeled
    config = choice_config(rows, answer_index=first, unlabeled=truth, allow_leaks=True)
    config = config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"unlabeled_answers": "answer"})})
    dataset = load(config)
    assert [each.answer for each in dataset.labeled] == list(letters)
    assert list(read_answers(config, dataset.task).values()) == list(letters)


def test_a_number_that_is_set_to_be_an_options_is_never_its_text(choice_config):
    row = {"options": ["2", "3", "4", "5"], "answer": 3}
    read = [load(choice_config([row], answer_index=first)).labeled[0].answer for first in (None, 1, 0)]
    assert read == ["B", "C", "D"]


@pytest.mark.parametrize(("first", "answer"), [(0, 3), (1, 0), (1, 4)])
def test_a_number_without_an_option_is_refused(choice_config, first, answer):
    with pytest.raises(DataError, match=rf"row 2 .*'{answer}' is not one of the 3 options, counted from {first}"):
        load(choice_config(numbered(1, answer), answer_index=first))


def test_an_answer_of_0_says_which_option_to_set(choice_config):
    with pytest.raises(DataError, match=r"row 2 .*if they count from 0, set data\.answer_index to 0"):
        load(choice_config(numbered(1, 0)))


def test_a_number_of_options_needs_options(choice_config):
    with pytest.raises(ConfigError, match=r"data\.answer_index: there are no options"):
        load(choice_config(numbered(1), answer_index=0, columns={"options": None}))


@pytest.mark.parametrize(
    ("answers", "first", "noted"),
    [
        ((1, 2), None, True),
        ((1, "B"), None, True),
        ((1, 2), 1, False),
        ((1, 3), None, False),
        (("A", "B"), None, False),
    ],
)
def test_numbers_that_may_count_from_0_are_noted(choice_config, answers, first, noted):
    dataset = load(choice_config(numbered(*answers), answer_index=first))
    assert any("no row tells whether they are" in line for line in examine(dataset).warnings) == noted


def test_a_test_row_may_tell_that_numbers_count_from_1(choice_config):
    other = choice_config([{"question": "another?", **row} for row in numbered(3)], "test").data.labeled
    assert not examine(load(choice_config(numbered(1, 2), test=other))).warnings[1:]


def test_a_number_that_is_the_text_of_its_option_leaves_nothing_open(choice_config):
    rows = [{"options": ["1", "2", "3"], "answer": answer} for answer in (1, 2)]
    assert not any("counted from 1" in line for line in examine(load(choice_config(rows))).warnings)
