"""What every task must do, whatever its kind."""

import random
import sys
from dataclasses import replace

import pytest
from tests.clock import is_linear

from semievol.config import TaskConfig
from semievol.errors import ConfigError, DataError
from semievol.records import Example, Message
from semievol.tasks import TASKS, open_task

IRON = ("iron", "zinc", "gold", "lead")
SOLVED = "He has <<2+3=5>>5 apples.\nHe eats 1.\n#### "
KINDS = {
    "multiple_choice": (TaskConfig(kind="multiple_choice"), ["B", "c", "(A)", "4", "gold"], IRON),
    "label": (TaskConfig(kind="label", label_names={"neg": "negative"}), ["neg", "positive", "neutral"], ()),
    "labels": (TaskConfig(kind="labels"), ["quiet, clean", "cheap", "none", '["quiet"]'], ()),
    "number": (TaskConfig(kind="number"), ["6", "$1,234.50", "(7)", "12%", "1/3", "2.5 million", "0"], ()),
    "number, worked": (
        TaskConfig(kind="number", answer_pattern="#### (.+)"),
        [SOLVED + "4", SOLVED + "1,200", SOLVED + "-7"],
        (),
    ),
    "free_text": (TaskConfig(kind="free_text", match="token_f1"), ["The Eiffel Tower", "Answer: x\ny", "5,5"], ()),
}


@pytest.fixture(params=KINDS)
def case(request):
    config, answers, options = KINDS[request.param]
    raw = [
        Example(id=f"r{i}", prompt=f"Question {i}, please?", answer=answer, options=options)
        for i, answer in enumerate(answers)
    ]
    task = open_task(config, raw)
    return task, [task.normalize(one) for one in raw]


def test_every_kind_of_the_table_is_covered():
    assert {config.kind for config, _, _ in KINDS.values()} == set(TASKS)


def test_the_response_reads_back_as_the_answer(case):
    task, examples = case
    for one in examples:
        assert task.parse(task.response(one), one) == one.answer
        assert task.parse(task.response(replace(one, response=None)), one) == one.answer


def test_normalizing_twice_changes_nothing(case):
    task, examples = case
    assert [task.normalize(one) for one in examples] == examples


def test_an_example_without_answer_stays_without(case):
    task, examples = case
    bare = replace(examples[0], answer=None, response=None)
    assert task.normalize(bare) == bare
    with pytest.raises(ValueError, match=bare.id):
        task.response(bare)


def test_a_blank_answer_is_refused(case):
    task, examples = case
    with pytest.raises(DataError, match="answer is empty"):
        task.normalize(replace(examples[0], answer="  "))


def test_equal_is_reflexive_and_symmetric(case):
    task, examples = case
    for one in examples:
        assert task.equal(one.answer, one.answer)
        for other in examples:
            assert task.equal(one.answer, other.answer) == task.equal(other.answer, one.answer)


def test_answers_are_canonical_or_open(case):
    task, examples = case
    if (closed := task.answers()) is not None:
        assert {one.answer for one in examples} <= set(closed)


def test_messages_end_with_one_user_turn_after_the_context(case):
    task, (one, *_) = case
    context = (Message(role="system", content="Be brief."), Message(role="assistant", content="Hello."))
    chat = task.messages(replace(one, context=context))
    assert chat[:-1] == context
    assert chat[-1]["role"] == "user"
    assert chat[-1]["content"].count(one.prompt) == 1
    assert chat[-1]["content"].endswith(":")


def test_references_stand_before_the_question_with_the_nearest_last(case):
    task, (one, near, far, *_) = case
    text = task.messages(one, [near, far])[-1]["content"]
    assert text.index(far.prompt) < text.index(near.prompt) < text.index(one.prompt)
    assert text.index(far.prompt) < text.index(f": {task.response(far)}\n\n") < text.rindex(near.prompt)
    assert text.endswith(task.messages(one)[-1]["content"].split("\n\n", 1)[1])


def test_all_prompts_share_the_instruction_as_their_prefix(case):
    task, (one, two, *_) = case
    instruction = task.messages(one)[-1]["content"].split("\n\n")[0]
    for chat in (task.messages(two), task.messages(two, [one]), task.justify(two, ["x", "y"])):
        assert chat[-1]["content"].startswith(instruction + "\n\n")


def test_the_config_replaces_the_instruction(case):
    task, (one, *_) = case
    own = open_task(
        task.config.model_copy(update={"instruction": "Do as I say.", "labels": ("x", "y"), "label_names": {}}), []
    )
    assert own.messages(one)[-1]["content"].startswith("Do as I say.\n\n")


def test_justify_shows_the_question_and_each_distinct_candidate_once(case):
    task, (one, two, *_) = case
    (chat,) = task.justify(one, [one.answer, two.answer, one.answer, ""])
    suggested = chat["content"].partition("Suggested answers")[2]
    assert chat["role"] == "user"
    assert one.prompt in chat["content"]
    assert suggested.count(one.answer) == suggested.count(two.answer) == 1


def test_the_gold_answer_stays_out_of_the_prompt(case):
    task, (one, *_) = case
    other = replace(one, answer=None, response=None)
    assert task.messages(one) == task.messages(other)
    assert task.justify(one, ["x"]) == task.justify(other, ["x"])


ALPHABET = [*"AaBbIi ().:,*_$%#-+/=0123456789\n\t\0'\"[]{}\\", "answer", "Answer:", "is", "option", "not", "neutral"]
ALPHABET += [
    "iron",
    "####",
    "١",
    "½",
    "ﷺ",
    "\ud800",
    "\u2028",
    "\x85",
    "−",
    "１",
    "Ｂ",
    "e9",
    "1e99999",
    "<<",
    "million",
]


def test_parse_never_raises_and_gives_canonical_answers(case):
    task, examples = case
    dice = random.Random(7)
    for _ in range(3000):
        tokens = (
            dice.choice(ALPHABET) if dice.random() < 0.9 else chr(dice.randrange(sys.maxunicode)) for _ in range(30)
        )
        text = "".join(list(tokens)[: dice.randrange(31)])
        answer = task.parse(text, examples[0])
        if answer is not None:
            assert task.normalize(replace(examples[0], answer=answer, response=None)).answer == answer, text


HEAVY = ["answer is ", "1", " ", "1 ", "A. ", "(", "neutral ", "not ", "Answer:\n", "1,111,", "1/", "\n", "*", "iron "]


@pytest.mark.parametrize("piece", HEAVY)
def test_the_time_to_read_a_text_grows_with_its_length_and_no_faster(case, piece):
    task, examples = case
    assert is_linear(lambda size: task.parse((piece * size)[:size], examples[0]), 100_000)


@pytest.mark.parametrize(("pattern", "message"), [("(", "not a regular expression"), ("#### .+", "has no group")])
def test_an_impossible_pattern_is_refused(pattern, message):
    with pytest.raises(ConfigError, match=message):
        open_task(TaskConfig(kind="number", answer_pattern=pattern), [])


def test_a_system_message_stands_first_unless_the_row_brings_its_own() -> None:
    task = open_task(TaskConfig(kind="free_text", system="Be brief."), [])
    own = {"role": "system", "content": "Be kind."}
    plain, with_own = Example("1", "Why?", "so"), Example("2", "Why?", "so", context=(own,))
    assert task.messages(plain)[0]["content"] == "Be brief."
    assert task.justify(plain, ["so"])[0]["content"] == "Be brief."
    assert [turn["role"] for turn in task.messages(with_own)] == ["system", "user"]
    assert task.messages(with_own)[0] == own
