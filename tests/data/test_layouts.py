import json

import pytest

from semievol.data import load, read_answers
from semievol.errors import ConfigError, DataError

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


def test_a_chat_may_stand_in_a_cell_as_json(make_config, write_csv):
    labeled = write_csv("labeled.csv", ["messages"], [[json.dumps([USER, FOUR])]])
    assert load(make_config(labeled=labeled)).labeled[0].answer == "FOUR"


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
