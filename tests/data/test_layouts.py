import json

import numpy as np
import pytest

from semievol.data import examine, load, read_answers
from semievol.errors import ConfigError, DataError
from semievol.predict.inputs import read_inputs

SYSTEM, USER = {"role": "system", "content": "be brief"}, {"role": "user", "content": "two and two?"}
EARLIER = [SYSTEM, {"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]
FOUR = {"role": "assistant", "content": "four"}


def sharegpt(chat):
    speaker = {"system": "system", "user": "human", "assistant": "gpt"}
    return [{"from": speaker[turn["role"]], "value": turn["content"]} for turn in chat]


LAYOUTS = {
    "messages": ({"messages": [*EARLIER, USER, FOUR]}, {"messages": [*EARLIER, USER]}),
    "sharegpt": (
        {"conversations": sharegpt([*EARLIER, USER, FOUR])},
        {"conversations": sharegpt([*EARLIER, USER])},
    ),
    "prompt_completion": ({"prompt": [*EARLIER, USER], "completion": [FOUR]}, {"prompt": [*EARLIER, USER]}),
}


@pytest.mark.parametrize("layout", ["auto", "own"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_chat_gives_its_last_question_its_context_and_its_answer(make_config, write_jsonl, name, layout):
    labeled = write_jsonl("labeled.jsonl", [LAYOUTS[name][0]])
    (example,) = load(make_config(labeled=labeled, layout=name if layout == "own" else "auto")).labeled
    assert (example.prompt, example.context, example.answer) == ("two and two?", tuple(EARLIER), "FOUR")


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_answer_at_the_end_of_an_unlabeled_chat_is_as_if_it_were_not_there(make_config, write_jsonl, name):
    answered, asked = LAYOUTS[name]
    labeled = write_jsonl("labeled.jsonl", [answered])
    unlabeled = [
        list(load(make_config(labeled=labeled, unlabeled=write_jsonl(f"{number}.jsonl", [row]))).unlabeled)
        for number, row in enumerate((answered, asked))
    ]
    assert unlabeled[0] == unlabeled[1]
    assert unlabeled[0][0].prompt == "two and two?"
    assert unlabeled[0][0].answer is None
    assert unlabeled[0][0].response is None


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_true_answer_of_an_unlabeled_chat_is_read_by_the_evaluation(make_config, write_jsonl, name):
    labeled = write_jsonl("labeled.jsonl", [LAYOUTS[name][0]])
    column = {"messages": "messages", "sharegpt": "conversations", "prompt_completion": "completion"}[name]
    config = make_config(
        labeled=labeled, unlabeled=write_jsonl("u.jsonl", [LAYOUTS[name][0]]), unlabeled_answers=column
    )
    assert read_answers(config, load(config).task) == {"unlabeled-0": "FOUR"}


def test_prompt_and_completion_may_be_texts(make_config, write_jsonl):
    labeled = write_jsonl("labeled.jsonl", [{"prompt": "p", "completion": "c"}])
    (example,) = load(make_config(labeled=labeled)).labeled
    assert (example.prompt, example.answer, example.context) == ("p", "C", ())


def test_an_alpaca_prompt_is_the_instruction_a_blank_line_and_the_input(make_config, write_csv):
    rows = [["Add.", "2 and 2", "4"], ["Greet.", "", "hello"]]
    labeled = write_csv("labeled.csv", ["instruction", "input", "output"], rows)
    unlabeled = write_csv("unlabeled.csv", ["instruction"], [["Count."]])
    dataset = load(make_config(labeled=labeled, unlabeled=unlabeled))
    assert [each.prompt for each in dataset.labeled] == ["Add.\n\n2 and 2", "Greet."]
    assert [each.answer for each in dataset.labeled] == ["4", "HELLO"]
    assert dataset.unlabeled[0].prompt == "Count."


def test_the_configured_columns_come_before_a_recognized_layout(make_config, write_csv):
    labeled = write_csv("labeled.csv", ["instruction", "output", "question", "gold"], [["i", "o", "q", "g"]])
    (example,) = load(make_config(labeled=labeled, columns={"prompt": "question", "answer": "gold"})).labeled
    assert (example.prompt, example.answer) == ("q", "G")


WRITERS = {"JSON": json.dumps, "Python": str, "NumPy": lambda chat: str(np.array(chat, dtype=object))}
QUOTED = {"role": "user", "content": "it's } {'two'} and \"two\"?\n"}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_chat_may_stand_in_a_cell_as_json_python_or_numpy_write_it(make_config, write_csv, writer):
    write = WRITERS[writer]
    whole = write_csv("whole.csv", ["messages"], [[write([SYSTEM, QUOTED, FOUR])]])
    parts = write_csv("parts.csv", ["prompt", "completion"], [[write([SYSTEM, QUOTED]), write([FOUR])]])
    named = write_csv("named.csv", ["text", "label"], [[write([SYSTEM, QUOTED]), write([FOUR])]])
    columns = {"prompt": "text", "answer": "label"}
    for config in (make_config(labeled=whole), make_config(labeled=parts), make_config(labeled=named, columns=columns)):
        (example,) = load(config).labeled
        assert (example.prompt, example.context, example.answer) == (QUOTED["content"], (SYSTEM,), "FOUR")


@pytest.mark.parametrize("cell", ["[{'role': 'user', 'content': 'to be", "[{'role': 'user', 'content': text}]"])
def test_a_chat_that_cannot_be_read_is_never_taken_for_a_text(make_config, write_csv, cell):
    labeled = write_csv("labeled.csv", ["prompt", "completion"], [["p", "c"], [cell, "c"]])
    with pytest.raises(DataError, match=r"labeled.csv row 2 \(line 3\): 'prompt': .* looks like a chat"):
        load(make_config(labeled=labeled))


@pytest.mark.parametrize("cell", ['{"from": "Bern", "to": "Basel"}', "[1] Who wrote this?", "{'role': 'king'}", "["])
def test_a_text_that_only_begins_like_a_chat_is_a_text(make_config, write_csv, cell):
    labeled = write_csv("labeled.csv", ["prompt", "completion"], [[cell, "c"]])
    assert load(make_config(labeled=labeled)).labeled[0].prompt == cell


@pytest.mark.parametrize(("cell", "kind"), [({"text": ["p"]}, "dict"), (["p", "q"], "list")])
def test_what_is_neither_a_text_nor_a_chat_is_refused_as_what_it_is(make_config, write_jsonl, cell, kind):
    labeled = write_jsonl("labeled.jsonl", [{"prompt": "p", "answer": cell}])
    with pytest.raises(DataError, match=rf"row 1 .*'answer' is of type {kind}, and text is expected"):
        load(make_config(labeled=labeled))


@pytest.mark.parametrize("column", ["instruction", "input", "output"])
def test_a_chat_in_a_column_of_texts_is_refused(make_config, write_csv, column):
    cells = {"instruction": "i", "input": "", "output": "o"} | {column: str([USER])}
    labeled = write_csv("labeled.csv", list(cells), [list(cells.values())])
    with pytest.raises(DataError, match=rf"row 1 .*{column!r} holds a chat, and text is expected"):
        load(make_config(labeled=labeled))


@pytest.mark.parametrize("column", ["messages", "conversations"])
@pytest.mark.parametrize(("speaker", "said"), [("role", "content"), ("from", "value")])
def test_the_keys_of_turns_go_with_either_column(make_config, write_jsonl, column, speaker, said):
    turns = [{speaker: turn["role"], said: turn["content"]} for turn in (*EARLIER, USER, FOUR)]
    (example,) = load(make_config(labeled=write_jsonl("labeled.jsonl", [{column: turns}]))).labeled
    assert (example.prompt, example.context, example.answer) == ("two and two?", tuple(EARLIER), "FOUR")


@pytest.mark.parametrize("user", ["User", "human", " HUMAN "])
@pytest.mark.parametrize("assistant", ["Assistant", "gpt", "ChatGPT", "bot", "model", "AI"])
def test_speakers_have_the_names_that_are_in_use(make_config, write_jsonl, user, assistant):
    chat = [{"role": "Developer", "content": "be brief"}, USER | {"role": user}, FOUR | {"role": assistant}]
    (example,) = load(make_config(labeled=write_jsonl("labeled.jsonl", [{"messages": chat}]))).labeled
    assert (example.prompt, example.context, example.answer) == ("two and two?", (SYSTEM,), "FOUR")


CALL = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "find", "arguments": "{}"}}]}


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        (CALL, "turn 2 of the chat is a tool's or calls one, and tools are not supported"),
        ({"role": "tool", "content": "3"}, "turn 2 of the chat is a tool's"),
        ({"from": "function-call", "value": "{}"}, "turn 2 of the chat is a tool's"),
        ({"role": "assistant", "content": None}, "turn 2 of the chat, the assistant's, has no content"),
        ({"role": "king", "content": "x"}, "turn 2 of the chat is of 'king'; known are system, developer, user"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "turn 2 of the chat holds more than text"),
        ({"role": "user", "content": "x", "images": ["x.png"]}, "turn 2 of the chat holds more than text"),
        ("hello", "turn 2 of the chat is 'hello'"),
    ],
)
def test_a_turn_that_a_prompt_cannot_hold_is_refused_with_its_row(make_config, write_jsonl, turn, message):
    labeled = write_jsonl("labeled.jsonl", [{"messages": [USER, FOUR]}, {"messages": [USER, turn, USER, FOUR]}])
    with pytest.raises(DataError, match=rf"labeled.jsonl row 2 \(line 2\): {message}"):
        load(make_config(labeled=labeled))


def test_parts_that_are_text_are_the_text(make_config, write_jsonl):
    parts = [{"type": "text", "text": "two "}, {"type": "input_text", "text": "and two?", "images": []}]
    labeled = write_jsonl("labeled.jsonl", [{"messages": [{"role": "user", "content": parts}, FOUR]}])
    assert load(make_config(labeled=labeled)).labeled[0].prompt == "two and two?"


@pytest.mark.parametrize("last", [CALL, {"role": "assistant", "content": None}])
def test_what_the_assistant_says_last_in_an_unlabeled_chat_is_not_looked_at(make_config, write_jsonl, last):
    unlabeled = write_jsonl("unlabeled.jsonl", [{"messages": [USER, last]}])
    labeled = write_jsonl("labeled.jsonl", [{"messages": [USER, FOUR]}])
    assert load(make_config(labeled=labeled, unlabeled=unlabeled)).unlabeled[0].prompt == "two and two?"


@pytest.mark.parametrize("cell", ["hello", None, 3])
def test_a_cell_that_holds_no_chat_is_refused(make_config, write_jsonl, cell):
    with pytest.raises(DataError, match=r"row 1 .*a list of turns is expected|row 1 .*turn 1 of the chat is 3"):
        load(make_config(labeled=write_jsonl("labeled.jsonl", [{"messages": cell}])))


SYSTEM_ROWS = {
    "messages": {"messages": [USER, FOUR]},
    "sharegpt": {"conversations": sharegpt([USER, FOUR])},
    "prompt_completion": {"prompt": "two and two?", "completion": "four"},
    "alpaca": {"instruction": "two and two?", "output": "four"},
}


@pytest.mark.parametrize("name", SYSTEM_ROWS)
def test_a_system_column_beside_the_prompt_is_the_systems_turn(make_config, write_jsonl, name):
    rows = [SYSTEM_ROWS[name] | {"system": "be brief", "tools": "[]"}, SYSTEM_ROWS[name] | {"system": None}]
    first, second = load(make_config(labeled=write_jsonl("labeled.jsonl", rows))).labeled
    assert (first.context, second.context) == ((SYSTEM,), ())


@pytest.mark.parametrize("name", SYSTEM_ROWS)
def test_a_column_of_what_a_prompt_cannot_hold_is_refused_where_it_is_not_empty(make_config, write_jsonl, name):
    rows = [SYSTEM_ROWS[name], SYSTEM_ROWS[name] | {"tools": '[{"name": "find"}]'}]
    with pytest.raises(DataError, match=r"row 2 \(line 2\): 'tools' is not empty"):
        load(make_config(labeled=write_jsonl("labeled.jsonl", rows)))


def test_a_systems_text_that_other_rows_lack_is_noted(make_config, write_jsonl):
    row = SYSTEM_ROWS["messages"]
    labeled = write_jsonl("labeled.jsonl", [row | {"system": "be brief"}])
    alike, bare = write_jsonl("alike.jsonl", [row, row | {"system": "be brief"}]), write_jsonl("bare.jsonl", [row])
    note = "labeled rows have a system's text and unlabeled rows have none"
    assert note in examine(load(make_config(labeled=labeled, unlabeled=bare))).warnings
    for config in (make_config(labeled=labeled, unlabeled=alike), make_config(labeled=bare, unlabeled=alike)):
        assert not any("system" in line for line in examine(load(config)).warnings)


@pytest.mark.parametrize("name", [*SYSTEM_ROWS, "columns"])
def test_predict_reads_rows_as_the_run_does(make_config, write_jsonl, name):
    others = {"system": "be brief", "history": [["hello", "hi"]], "tools": "[]"}
    row = SYSTEM_ROWS.get(name, {"prompt": str([*EARLIER, USER]), "answer": "four"}) | others
    path = write_jsonl("rows.jsonl", [row])
    config = make_config(labeled=path, unlabeled=write_jsonl("unlabeled.jsonl", [row]))
    dataset = load(config)
    (given,) = read_inputs(config, dataset.task, dataset.layout, str(path)).rows
    assert given.cells == row
    assert (given.example.context, given.example.prompt) == (dataset.unlabeled[0].context, "two and two?")


def test_two_systems_in_one_row_must_say_the_same(make_config, write_jsonl):
    same, other = ({"system": text, "messages": [*EARLIER, USER, FOUR]} for text in ("be brief", "be long"))
    assert load(make_config(labeled=write_jsonl("labeled.jsonl", [same]))).labeled[0].context == tuple(EARLIER)
    with pytest.raises(DataError, match=r"row 1 .*'system' holds another text than the system's turn"):
        load(make_config(labeled=write_jsonl("labeled.jsonl", [other])))


@pytest.mark.parametrize("history", [[["hello", "hi"]], '[["hello", "hi"]]', EARLIER[1:], str(EARLIER[1:])])
@pytest.mark.parametrize("name", ["alpaca", "prompt_completion"])
def test_a_history_stands_between_system_and_prompt(make_config, write_jsonl, name, history):
    row = SYSTEM_ROWS[name] | {"system": "be brief", "history": history}
    (example,) = load(make_config(labeled=write_jsonl("labeled.jsonl", [row]))).labeled
    assert (example.prompt, example.context) == ("two and two?", tuple(EARLIER))


@pytest.mark.parametrize("history", ["hello", ["hello"], [["hello"]], [["hello", None]], "[['hello' 'hi']]", 3])
def test_a_history_that_is_no_chat_is_refused(make_config, write_jsonl, history):
    row = SYSTEM_ROWS["alpaca"] | {"history": history}
    with pytest.raises(DataError, match=r"row 1 .*'history'"):
        load(make_config(labeled=write_jsonl("labeled.jsonl", [row])))


BESIDE_ALPACA = [{"text": "t", "label": "l", "instruction": "i", "output": "o"}]


@pytest.mark.parametrize("layout", ["auto", "alpaca"])
@pytest.mark.parametrize(
    ("columns", "missing", "nearest"),
    [
        ({"prompt": "text", "answer": "lable"}, "'lable' (data.columns.answer)", "label"),
        ({"answer": "lable"}, "'lable' (data.columns.answer)", "label"),
        ({"prompt": "texts", "answer": "label"}, "'texts' (data.columns.prompt)", "text"),
        ({"category": "outputs"}, "'outputs' (data.columns.category)", "output"),
        ({"id": "lable"}, "'lable' (data.columns.id)", "label"),
        ({"options": "texts"}, "'texts' (data.columns.options)", "text"),
    ],
)
def test_a_configured_column_that_is_not_there_is_an_error_whatever_layout_fits(
    make_config, write_jsonl, layout, columns, missing, nearest
):
    config = make_config(labeled=write_jsonl("labeled.jsonl", BESIDE_ALPACA), layout=layout, columns=columns)
    with pytest.raises(DataError) as error:
        load(config)
    assert f"labeled.jsonl: no column {missing}" in str(error.value)
    assert f"Did you mean {nearest!r}?" in str(error.value)


def test_a_configured_column_is_never_passed_over_for_a_layouts_own(make_config, write_jsonl):
    labeled = write_jsonl("labeled.jsonl", BESIDE_ALPACA)
    with pytest.raises(DataError, match=r"no column 'answer' \(data.columns.answer\)"):
        load(make_config(labeled=labeled, columns={"prompt": "text"}))
    with pytest.raises(ConfigError, match=r"data.columns.answer: 'label' is not read, because data.layout is alpaca"):
        load(make_config(labeled=labeled, layout="alpaca", columns={"answer": "label"}))


def test_a_layout_whose_columns_are_configured_keeps_its_other_columns(make_config, write_jsonl):
    labeled = write_jsonl("labeled.jsonl", [{"instruction": "Add.", "input": "2 and 2", "output": "4"}])
    config = make_config(labeled=labeled, columns={"prompt": "instruction", "answer": "output"})
    assert load(config).labeled[0].prompt == "Add.\n\n2 and 2"


@pytest.mark.parametrize("data", [{"columns": {"category": "system"}}, {"unlabeled_answers": "system"}])
def test_a_part_of_the_prompt_cannot_be_read_as_something_else(make_config, write_jsonl, data):
    labeled = write_jsonl("labeled.jsonl", [SYSTEM_ROWS["alpaca"] | {"system": "be brief"}])
    with pytest.raises(ConfigError, match="'system' is a part of the prompt"):
        load(make_config(labeled=labeled, **data))


@pytest.mark.parametrize(
    ("chat", "message"),
    [
        ([], "the chat is empty"),
        ([SYSTEM], "ends with a turn of the system"),
        ([USER, FOUR, FOUR], "ends with a turn of the assistant"),
        ([USER], "the answer is empty"),
        ([{"role": "user", "content": " "}, FOUR], "the prompt is empty"),
    ],
)
def test_a_chat_without_question_or_answer_names_its_row(make_config, write_jsonl, chat, message):
    labeled = write_jsonl("labeled.jsonl", [{"messages": [USER, FOUR]}, {"messages": chat}])
    with pytest.raises(DataError, match=rf"labeled.jsonl row 2 \(line 2\): .*{message}"):
        load(make_config(labeled=labeled))


@pytest.mark.parametrize("part", ["prompt", "id", "options", "category"])
def test_the_answer_column_cannot_also_be_another(make_config, write_csv, part):
    labeled = write_csv("labeled.csv", ["prompt", "answer"], [["p", "a"]])
    with pytest.raises(ConfigError, match=rf"data.columns.{part}: 'answer' is the answer column"):
        load(make_config(labeled=labeled, columns={part: "answer"}))


def test_a_completion_of_several_turns_is_refused(make_config, write_jsonl):
    labeled = write_jsonl("labeled.jsonl", [{"prompt": [USER], "completion": [FOUR, USER, FOUR]}])
    with pytest.raises(DataError, match="the completion has 3 turns"):
        load(make_config(labeled=labeled))
