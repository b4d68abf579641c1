"""A first config for the user's own files and this machine, each guess with its reason."""

import importlib.util
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from semievol.config import ModelConfig
from semievol.config.starter import MODEL, TRAINING, Start
from semievol.data.sources import resolve
from semievol.errors import ConfigError
from semievol.forecast.guess import LOOKED_AT, MOST_LABELS_WRITTEN, Guess, Guesses, guess
from semievol.forecast.memory import GB, memory_of
from semievol.models.types import resolve_device

KINDS = ("label", "labels", "multiple_choice", "number", "free_text")
LONG_PROMPT = 400
"""Words of a prompt in the middle, from which on the config says how to cut them."""
TEST_ROWS, LABELED_ROWS = 500, 200
"""At most so many of a file that has to serve for everything."""
_PLAIN = re.compile(r"[A-Za-z$./~][\w ./$~*+@%=-]*")
_WORDS_OF_YAML = {"true", "false", "null", "yes", "no", "on", "off"}

BIG = """\
model:
  name: meta-llama/Llama-3.1-8B-Instruct    # {reason}; wants an account at the hub
{more}"""
PAPER = """\
training:                       # LoRA; the paper's recipe for 8B
  num_train_epochs: 2
  learning_rate: 1.0e-4
  per_device_train_batch_size: 1
  gradient_accumulation_steps: 8
"""
SERVICE = """\

# {key} is set: a service can answer and be fine-tuned in place of a model here, for money (docs/services.md).
# backend: {{kind: openai}}
# model: {{name: gpt-4o-mini}}
# training: {{kind: hosted}}
# costs: {{max_cost: 10}}
"""
VLLM = """\

# vLLM is installed: it answers with base and adapters side by side (docs/vllm.md).
# backend: {kind: vllm}
"""


def start(
    labeled: str,
    unlabeled: str | None,
    test: str | None,
    said: Mapping[str, str],
    ask: Callable[[str, str], str] | None,
) -> tuple[Start, list[str]]:
    """A config for these sources, and the guesses in lines with their reasons.

    Args:
        labeled: the rows with answers, or with answers in a part of them.
        unlabeled: those without, if they are another source.
        test: the test rows, if they are another source.
        said: what the user has said of `prompt`, `answer` and `kind`.
        ask: given a question and what is guessed, what the user says; guesses stand if it is not given.

    Raises:
        DataError: a source cannot be read, or a column is not there.
        ConfigError: no column looks like a prompt, or like an answer; or there is no such kind.
    """
    if said.get("kind", KINDS[0]) not in KINDS:
        raise ConfigError(f"--task {said['kind']}: is not one of {', '.join(KINDS)}")
    table = resolve("data.labeled", labeled).open()
    for source, option in ((unlabeled, "data.unlabeled"), (test, "data.test")):
        if source is not None:
            resolve(option, source)
    guesses = guess(table, said)
    if ask is not None and guesses.layout == "columns":
        guesses = guess(table, {**said, **_answers(guesses, ask)})
    model, engine, training, model_reason = machine()
    begun = Start(
        name=re.sub(r"[^\w-]+", "-", Path(labeled.rstrip("/")).name.partition(".")[0]).strip("-") or "my-task",
        model=model,
        data=_data(guesses, labeled, unlabeled, test),
        task=_task(guesses),
        training=training,
        per_answer=guesses.kind.value in ("label", "multiple_choice"),
        engine=engine,
    )
    return begun, [*_lines(guesses), model_reason]


def _answers(guesses: Guesses, ask: Callable[[str, str], str]) -> dict[str, str]:
    """What the user says of the guesses; those that make a prompt of several columns stand."""
    questions: dict[str, Guess] = {"prompt": guesses.prompt, "answer": guesses.answer, "kind": guesses.kind}
    replies = {}
    for part, one in questions.items():
        if isinstance(one.value, str):
            replies[part] = ask(f"{part} ({one.reason})", one.value)
    return replies


def machine() -> tuple[str, str, str, str]:
    """The sections of the model, of another engine and of the training that suit this machine, and a line of reason."""
    engine = next((SERVICE.format(key=key) for key in ("OPENAI_API_KEY",) if os.environ.get(key)), "")
    if importlib.util.find_spec("vllm") is not None:
        engine += VLLM
    if importlib.util.find_spec("torch") is None:
        return MODEL, engine, TRAINING, "model: SmolLM2-135M (torch is not installed here, and it runs anywhere)"
    model = ModelConfig()
    memory = memory_of(model)
    if not resolve_device(model).startswith("cuda") or memory is None:
        return MODEL, engine, TRAINING, "model: SmolLM2-135M (there is no CUDA GPU, and it runs on a laptop)"
    gigabytes = memory / GB
    reason = f"the GPU has {gigabytes:.0f} GB"
    if gigabytes < 10:
        return MODEL, engine, TRAINING, f"model: SmolLM2-135M ({reason})"
    more = "" if gigabytes > 40 else "  quantization: nf4           # pip install 'semievol[quantized]'\n"
    return BIG.format(reason=reason, more=more), engine, PAPER, f"model: Llama-3.1-8B ({reason})"


def _data(guesses: Guesses, labeled: str, unlabeled: str | None, test: str | None) -> str:
    lines = ["data:", _option("labeled", labeled, _coverage(guesses))]
    has_all = unlabeled is None and guesses.answered == guesses.rows
    held_out = min(TEST_ROWS, guesses.answered // 4)
    lines.append(
        _option(
            "unlabeled",
            unlabeled or labeled,
            "rows without answers"
            if unlabeled
            else "every row has an answer: those that are not drawn below are taken as unlabeled, to see what helps"
            if has_all
            else "its rows without an answer",
        )
    )
    if test is None and held_out >= 10:
        lines.append(_option("test", labeled, "drawn from the rows with answers, and never trained on"))
        lines.append(_option("test_rows", str(held_out), ""))
    elif test is None:
        lines.append(f"  # test: test.csv              # {guesses.answered} answers are too few to measure on")
    else:
        lines.append(_option("test", test, "rows with answers that nothing trains on"))
    if has_all:
        lines.append(_option("labeled_rows", str(min(LABELED_ROWS, max(10, guesses.answered // 4))), ""))
    if guesses.layout != "columns":
        lines.append(_option("layout", guesses.layout, guesses.prompt.reason))
    else:
        lines += ["  columns:", _option("prompt", guesses.prompt.value, guesses.prompt.reason, depth=2)]
        for part in ("answer", "options", "category", "id"):
            if (one := getattr(guesses, part)) is not None:
                lines.append(_option(part, one.value, one.reason, depth=2))
    if guesses.words > LONG_PROMPT:
        lines.append(f"  # max_prompt_words: 300       # half of the prompts are longer than {guesses.words:.0f} words")
    return "\n".join(lines) + "\n"


def _coverage(guesses: Guesses) -> str:
    more = "the first " if guesses.layout != "columns" and guesses.rows == LOOKED_AT else ""
    return f"{guesses.answered} of {more}{guesses.rows} rows have an answer"


def _task(guesses: Guesses) -> str:
    lines = ["task:", _option("kind", guesses.kind.value, guesses.kind.reason)]
    if guesses.labels is not None and len(guesses.labels.value) <= MOST_LABELS_WRITTEN:
        counts = guesses.labels.value
        lines += ["  labels:                       # with their rows; what a file does not hold is yours to add"]
        lines += [
            f"    - {_scalar(label)}{' ' * max(1, 24 - len(_scalar(label)))}# {rows}" for label, rows in counts.items()
        ]
    if guesses.answer_pattern is not None:
        lines.append(f"  answer_pattern: '{guesses.answer_pattern.value}'")
    if guesses.kind.value == "free_text":
        lines.append("  # match: token_f1             # exact, fuzzy or token_f1: when an answer is right")
    lines.append("  # instruction: What the model is told before each prompt; the task's own words if it is left out")
    return "\n".join(lines) + "\n"


def _lines(guesses: Guesses) -> list[str]:
    lines = [f"rows: {_coverage(guesses)}"]
    for part in ("prompt", "answer", "options", "category", "id", "kind"):
        if (one := getattr(guesses, part)) is not None:
            value = one.value if isinstance(one.value, str) else ", ".join(one.value)
            lines.append(f"{part}: {value} ({one.reason})")
    if guesses.labels is not None:
        lines.append(f"labels: {len(guesses.labels.value)} ({guesses.labels.reason})")
    return lines


def _option(name: str, value: str | Sequence[str], reason: str, depth: int = 1) -> str:
    written = _scalar(value) if isinstance(value, str) else f"[{', '.join(map(_scalar, value))}]"
    line = f"{'  ' * depth}{name}: {written}"
    return f"{line:<31} # {reason}" if reason else line


def _scalar(value: str) -> str:
    """The text as YAML, in quotes where it could be read as something else."""
    is_plain = _PLAIN.fullmatch(value) and value.casefold() not in _WORDS_OF_YAML and value == value.strip()
    return value if is_plain or value.isdecimal() else json.dumps(value, ensure_ascii=False)
