"""Prompts that are made of several columns."""

import io
import sys

import pytest

from semievol.config import build
from semievol.data import load
from semievol.data.prompt_form import filled, is_template, prompt_columns
from semievol.errors import ConfigError, DataError
from semievol.predict.inputs import read_inputs

TICKET = {"subject": "Login", "body": "It fails.", "answer": "access", "weight": 3}


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("{subject}\n\n{body}", "Login\n\nIt fails."),
        ("Subject: {subject} ({weight} kg) {{draft}}", "Subject: Login (3 kg) {draft}"),
        ("{subject}, {subject}", "Login, Login"),
        (["subject", "body"], "Login\n\nIt fails."),
        (["body"], "It fails."),
        ("body", "It fails."),
    ],
)
def test_a_prompt_is_made_of_columns(make_config, write_jsonl, prompt, expected):
    labeled = write_jsonl("labeled.jsonl", [TICKET])
    unlabeled = write_jsonl("unlabeled.jsonl", [{key: cell for key, cell in TICKET.items() if key != "answer"}])
    config = make_config(labeled=labeled, unlabeled=unlabeled, columns={"prompt": prompt})
    data = load(config)
    assert [example.prompt for example in (*data.labeled, *data.unlabeled)] == [expected] * 2


def test_what_is_empty_leaves_no_gap_in_a_list_and_its_place_in_a_text(make_config, write_jsonl):
    cells = {"subject": None, "body": "It fails."}
    assert filled(("subject", "body"), cells) == "It fails."
    assert filled("[{subject}] {body}", cells) == "[] It fails."


def test_a_row_in_which_all_is_empty_asks_nothing(make_config, write_jsonl):
    labeled = write_jsonl("labeled.jsonl", [TICKET, {**TICKET, "subject": "", "body": " "}])
    with pytest.raises(DataError, match=r"row 2 .*the prompt is empty"):
        load(make_config(labeled=labeled, columns={"prompt": "Subject: {subject}\n{body}"}))


def test_a_column_of_a_prompt_that_is_not_there_is_named_with_the_nearest(make_config, write_jsonl):
    labeled = write_jsonl("labeled.jsonl", [TICKET])
    with pytest.raises(DataError, match=r"no column 'subjekt' \(data.columns.prompt\).*Did you mean 'subject'\?"):
        load(make_config(labeled=labeled, columns={"prompt": "{subjekt} {body}"}))


def test_the_answer_does_not_stand_in_the_prompt(make_config, write_jsonl):
    labeled = write_jsonl("labeled.jsonl", [TICKET])
    with pytest.raises(ConfigError, match="'answer' is the answer column"):
        load(make_config(labeled=labeled, columns={"prompt": "{body} {answer}"}))


@pytest.mark.parametrize("prompt", ["{subject} {", "{subject} } {body}"])
def test_an_open_brace_is_refused_with_its_place(prompt):
    with pytest.raises(ConfigError, match=r"the brace at character 11 of .* has no other"):
        prompt_columns(prompt)


def test_a_list_of_no_columns_is_refused(make_config, write_jsonl):
    with pytest.raises(ConfigError, match="no column is named"):
        load(make_config(labeled=write_jsonl("labeled.jsonl", [TICKET]), columns={"prompt": []}))


def test_a_column_is_no_template():
    assert not is_template("question {}")
    assert prompt_columns("question {}") == ("question {}",)


def test_a_cell_that_is_no_text_is_refused_with_its_column(make_config, write_jsonl):
    labeled = write_jsonl("labeled.jsonl", [{**TICKET, "body": ["a"]}])
    with pytest.raises(DataError, match=r"row 1 .*'body' is of type list"):
        load(make_config(labeled=labeled, columns={"prompt": ["subject", "body"]}))


def test_a_line_of_standard_input_is_a_whole_prompt(make_config, write_jsonl, monkeypatch):
    config = make_config(labeled=write_jsonl("labeled.jsonl", [TICKET]), columns={"prompt": "{subject}: {body}"})
    data = load(config)
    monkeypatch.setattr(sys, "stdin", io.StringIO("Login: It fails.\n"))
    (row,) = read_inputs(config, data.task, data.layout, "-").rows
    assert row.example is not None
    assert row.example.prompt == "Login: It fails."
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"subject": "Login", "body": "It fails."}\n'))
    (row,) = read_inputs(config, data.task, data.layout, "-").rows
    assert row.example is not None
    assert row.example.prompt == "Login: It fails."


def test_the_config_takes_a_text_and_a_list():
    assert build({"data": {"columns": {"prompt": ["a", "b"]}}}).data.columns.prompt == ("a", "b")
