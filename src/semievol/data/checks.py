"""What can be told of the rows before anything is trained: leaks, duplicates, imbalance, lengths."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

import numpy as np

from semievol.data.dataset import Dataset
from semievol.data.hashes import Hashes, among, hashes, repeated
from semievol.errors import DataError
from semievol.records import Example
from semievol.tasks.multiple_choice import folded

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)
"""Of the prompt lengths."""
_SHOWN = 3
"""Pairs of rows named in an overlap."""
_IMBALANCED = 10.0
"""From so many times the rarest answer on, the most frequent one is worth a warning."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Prompts that stand in two splits."""

    splits: tuple[str, str]
    rows: int
    """Rows of the second split whose prompt stands in the first."""
    pairs: tuple[tuple[str, str], ...]
    """The ids of the first few: in the first split, in the second."""

    def __str__(self) -> str:
        first, second = self.splits
        names = ", ".join(f"{id_} = {id_beside}" for id_, id_beside in self.pairs)
        ellipsis = ", ..." if self.rows > len(self.pairs) else ""
        return f"{self.rows} {second} rows have a prompt of {first} rows ({names}{ellipsis})"


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Rows of a split that ask the same and have different answers."""

    split: str
    rows: int
    """Rows whose answer is not that of the first row with their prompt."""
    pairs: tuple[tuple[str, str], ...]
    """The ids of the first few: of the first row with the prompt, and of the one that contradicts it."""

    def __str__(self) -> str:
        names = ", ".join(f"{id_} and {id_beside}" for id_, id_beside in self.pairs)
        ellipsis = ", ..." if self.rows > len(self.pairs) else ""
        have = "row has" if self.rows == 1 else "rows have"
        return f"{self.rows} {self.split} {have} the prompt of another and a different answer ({names}{ellipsis})"


@dataclass(frozen=True, slots=True)
class Report:
    """What `examine` found."""

    rows: Mapping[str, int]
    """Split -> rows."""
    answers: Mapping[str, int]
    """Labeled answer -> rows, most frequent first; a label of a closed set that no row has is there with 0."""
    duplicates: Mapping[str, int]
    """Split -> rows whose prompt stood in the split before."""
    overlaps: tuple[Overlap, ...]
    """Of labeled, unlabeled and test, two by two; pairs without any are left out."""
    contradictions: tuple[Contradiction, ...]
    """Of labeled and test rows."""
    test_answers: Mapping[str, int]
    """Test answer -> rows, if the answers are a closed set; a label that no test row has is there with 0."""
    words: Mapping[str, tuple[float, ...]]
    """Split -> prompt lengths in words, at `QUANTILES`."""
    imbalance: float | None
    """Rows of the most frequent labeled answer over those of the rarest that occurs; `None` if the answers are
    no closed set."""
    notes: tuple[str, ...]
    """Of the task, on how it reads the answer column."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know of, a line each."""
        lines = [
            f"{count} {split} {'row repeats' if count == 1 else 'rows repeat'} a prompt"
            for split, count in self.duplicates.items()
            if count
        ]
        lines += [str(finding) for finding in (*self.contradictions, *self.overlaps)]
        lines += [f"no labeled row has the answer {answer!r}" for answer, count in self.answers.items() if not count]
        missing = [answer for answer, count in self.test_answers.items() if not count]
        if len(self.test_answers) - len(missing) == 1 and missing:
            (only,) = self.test_answers.keys() - set(missing)
            lines.append(f"all test rows have the answer {only!r}: a model that gives no other is right on all of them")
        elif missing:
            lines.append(f"no test row has the answer {', '.join(map(repr, missing))}, so nothing is measured of it")
        if self.imbalance is not None and self.imbalance >= _IMBALANCED:
            lines.append(f"the most frequent labeled answer has {self.imbalance:.0f} times the rows of the rarest")
        return (*lines, *self.notes)


def examine(dataset: Dataset) -> Report:
    """The checks of loaded rows; nothing is refused here."""
    splits = _splits(dataset)
    prompts = {name: _prompts(examples) for name, examples in splits.items()}
    classes = dataset.task.answers()
    counts = Counter(example.answer for example in dataset.labeled if example.answer is not None)
    answers = _counted(dataset.labeled, classes)
    bounded = classes is not None or any(example.options for example in dataset.labeled)
    return Report(
        rows={name: len(examples) for name, examples in splits.items()},
        answers=answers,
        duplicates={name: len(repeated(values)) for name, values in prompts.items()},
        contradictions=_contradictions(dataset, prompts),
        test_answers=_counted(dataset.test, classes) if classes is not None and dataset.test else {},
        overlaps=_overlaps(splits, prompts, onto=("unlabeled", "test")),
        words={name: _quantiles(examples) for name, examples in splits.items() if examples},
        notes=(*dataset.task.notes(dataset.as_read), *_option_numbers(dataset), *_systems(splits)),
        imbalance=max(counts.values()) / min(counts.values()) if bounded and counts else None,
    )


def _counted(examples: Iterable[Example], classes: Sequence[str] | None) -> dict[str, int]:
    """Answer -> rows, most frequent first, then labels of the closed set that no row has."""
    counts = Counter(example.answer for example in examples if example.answer is not None)
    return dict(counts.most_common()) | {label: 0 for label in classes or () if label not in counts}


def _option_numbers(dataset: Dataset) -> tuple[str, ...]:
    """A note, if labeled answers were read as numbers of options and none is that of the last."""
    if any(example.options and example.answer == ascii_uppercase[len(example.options) - 1] for example in dataset.test):
        return ()
    numbers = []
    for raw, example in zip(dataset.as_read, dataset.labeled, strict=False):
        number = (raw.answer or "").strip("() .")
        if not example.options or not number.isdecimal() or len(number) > 2:
            continue
        at = int(number) - 1
        letter = ascii_uppercase[at] if 0 <= at < len(example.options) else None
        if letter == example.answer and folded(example.options[at]) != number:
            numbers.append(int(number))
            if at + 1 == len(example.options):
                return ()
    if not numbers:
        return ()
    return (
        f"answers are numbers from {min(numbers)} to {max(numbers)}, read as counted from 1, and no row tells whether "
        "they are; set data.answer_index to 0 or 1",
    )


def _systems(splits: Mapping[str, Sequence[Example]]) -> tuple[str, ...]:
    """A note for each split that has no system's text, if labeled rows have one."""
    if not any(map(_has_system, splits["labeled"])):
        return ()
    without = [name for name, rows in splits.items() if rows and not any(map(_has_system, rows))]
    return tuple(f"labeled rows have a system's text and {name} rows have none" for name in without)


def _has_system(example: Example) -> bool:
    return bool(example.context) and example.context[0]["role"] == "system"


def _contradictions(dataset: Dataset, prompts: Mapping[str, Hashes]) -> tuple[Contradiction, ...]:
    leaks = []
    for split, examples in (("labeled", dataset.labeled), ("test", dataset.test)):
        suspects = set(repeated(prompts[split]).tolist())
        first: dict[int, Example] = {}
        pairs = []
        for prompt, example in zip(prompts[split].tolist(), examples, strict=True) if suspects else ():
            before = first.setdefault(prompt, example) if prompt in suspects else example
            if before.answer != example.answer:
                pairs.append((before.id, example.id))
        if pairs:
            leaks.append(Contradiction(split, len(pairs), tuple(pairs[:_SHOWN])))
    return tuple(leaks)


def refuse_leaks(dataset: Dataset) -> None:
    """Nothing, if no test prompt stands in the training rows.

    Raises:
        DataError: one does; names rows and the option that lets it pass.
    """
    splits = _splits(dataset)
    prompts = {name: _prompts(examples) for name, examples in splits.items()}
    leaks = _overlaps(splits, prompts, onto=("test",))
    if leaks:
        lines = "\n".join(f"  {leak}" for leak in leaks)
        raise DataError(
            "test prompts stand in the training rows, which makes the test look better than it is:\n"
            f"{lines}\n  Remove them from one side, or set data.allow_leaks to go on."
        )


def _splits(dataset: Dataset) -> dict[str, Sequence[Example]]:
    return {"labeled": dataset.labeled, "unlabeled": dataset.unlabeled, "test": dataset.test}


def _overlaps(
    splits: Mapping[str, Sequence[Example]], prompts: Mapping[str, Hashes], onto: Sequence[str]
) -> tuple[Overlap, ...]:
    """Of each split in `onto` with those before it."""
    names = list(splits)
    pairs = [(split, split_before) for split_before in onto for split in names[: names.index(split_before)]]
    return tuple(overlap for pair in pairs if (overlap := _overlap(pair, splits, prompts)).rows)


def _overlap(names: tuple[str, str], splits: Mapping[str, Sequence[Example]], prompts: Mapping[str, Hashes]) -> Overlap:
    split, split_beside = names
    positions = np.flatnonzero(among(prompts[split_beside], prompts[split]))
    owners = [int(np.flatnonzero(prompts[split] == prompts[split_beside][at])[0]) for at in positions[:_SHOWN]]
    pairs = [
        (splits[split][owner].id, splits[split_beside][int(at)].id)
        for owner, at in zip(owners, positions, strict=False)
    ]
    return Overlap(names, len(positions), tuple(pairs))


def _prompts(examples: Iterable[Example]) -> Hashes:
    """Equal for two rows that ask the same: earlier turns, prompt and options, whitespace and case aside; (N,)."""
    return hashes(_plain(example) for example in examples)


def _plain(example: Example) -> str:
    parts = [turn["content"] for turn in example.context] + [example.prompt, *example.options]
    return "\0".join(" ".join(part.split()).casefold() for part in parts)


def _quantiles(examples: Iterable[Example]) -> tuple[float, ...]:
    lengths = np.fromiter((len(example.prompt.split()) for example in examples), np.int32)
    return tuple(float(quantile) for quantile in np.quantile(lengths, QUANTILES))
