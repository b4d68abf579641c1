"""Five instructions that say the same (Figure 5)."""

from pathlib import Path

from semievol.config import Config
from semievol.data import Dataset
from semievol.errors import ConfigError

COUNT = 5

_OF_KIND = {
    "multiple_choice": (
        "Choose the right option. Answer with its letter only.",
        "Which of the options is correct? Reply with the letter alone.",
        "Read the question, then give the letter of the best option and nothing else.",
        "One of the options answers the question. Say which, as a single letter.",
        "Solve this multiple-choice question. Your reply is the letter of the correct option.",
    ),
    "label": (
        "Classify the text. Answer with one of these labels only: {labels}.",
        "Which of these labels fits the text: {labels}? Reply with the label alone.",
        "Read the text, then assign one label out of {labels}. Write nothing else.",
        "The text belongs to one of these classes: {labels}. Name the class.",
        "Decide on the label of the text. It is one of {labels}. Your reply is that label.",
    ),
    "labels": (
        'Which of these labels apply to the text? Answer with all that do, separated by ",", or with "none": {labels}.',
        'Read the text and list every label out of {labels} that fits, with "," between, or write "none".',
        'The text may belong to several of these classes: {labels}. Name them all, divided by ",", or say "none".',
        'Out of {labels}, give the labels that are true of the text, with "," between them; "none" if there are none.',
        'Decide for each of {labels} whether it fits the text. Your reply lists those that do by ",", or is "none".',
    ),
    "number": (
        "Answer the question with a number only.",
        "What is the result? Reply with the number alone.",
        "Work out the value that is asked for and write just the number.",
        "Give the figure that answers the question, without any words.",
        "The answer is a number. Your reply is that number and nothing else.",
    ),
    "free_text": (
        "Answer the question. Give the answer only.",
        "Reply to the question with the answer alone.",
        "What is the answer? Write it and nothing else.",
        "Read the question and state its answer, without an explanation.",
        "Your reply is the answer to the question, in as few words as it takes.",
    ),
}


def rephrasings(config: Config, dataset: Dataset, path: Path | None) -> tuple[str, ...]:
    """The instructions in the file, one a line; without a file, those of the task's kind.

    Raises:
        ConfigError: the file has fewer than two, or there is no file and the instruction is the user's own.
    """
    if path is not None:
        try:
            lines = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--instructions {path}: {error}") from error
        if len(lines) < 2:
            raise ConfigError(f"--instructions {path}: at least two instructions are needed, one a line")
        return lines
    solutions = any(example.response for example in dataset.labeled)
    if config.task.instruction is not None or config.task.kind not in _OF_KIND or solutions:
        raise ConfigError(
            f"stability: {'worked solutions have' if solutions else 'the config has'} an instruction that only you can "
            f"rephrase; write {COUNT} ways to say it into a file, one a line, and name it with --instructions"
        )
    labels = dataset.task.answers() or ()
    names = ("; " if any("," in label for label in labels) else ", ").join(labels)
    return tuple(text.format(labels=names) for text in _OF_KIND[config.task.kind])
