"""What the page takes from the user's data: prompts, labeled answers and, after the fact, the truth."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from semievol.config import Config
from semievol.data import Dataset, load, read_answers
from semievol.errors import SemiEvolError
from semievol.records import Example
from semievol.tasks import Task


@dataclass(frozen=True, slots=True)
class Sources:
    """The data of a run, as far as it can still be read."""

    unlabeled: Sequence[Example]
    labeled: tuple[str, ...]
    """The answers of the labeled rows."""
    truth: Mapping[str, str | None]
    """Unlabeled row id -> true answer, if it is known after the fact."""
    task: Task | None
    missing: str | None
    """Why the data could not be read; `None` if it could."""

    def prompts(self, ids: Collection[str]) -> dict[str, str]:
        """Unlabeled row id -> what a person has to see of it: earlier turns, prompt and options."""
        return {example.id: _shown(example) for example in self.unlabeled if example.id in ids}

    def right(self, id_: str, answer: str | None) -> bool | None:
        """Whether a pseudo-label is right; `None` if the truth is not known."""
        true_answer = self.truth.get(id_)
        if true_answer is None or self.task is None:
            return None
        return answer is not None and self.task.equal(answer, true_answer)


def read_sources(config: Config, dataset: Dataset | None = None) -> Sources:
    """The data that `config` names; a run folder outlives its data, so what cannot be read is left out.

    Args:
        dataset: the rows, if they are loaded already.
    """
    try:
        dataset = dataset or load(config)
        answers = read_answers(config, dataset.task) if config.evaluate.unlabeled_answers else {}
    except SemiEvolError as error:
        return Sources((), (), {}, None, str(error))
    return Sources(
        unlabeled=dataset.unlabeled,
        labeled=tuple(example.answer for example in dataset.labeled if example.answer is not None),
        truth=answers,
        task=dataset.task,
        missing=None,
    )


def _shown(example: Example) -> str:
    turns = [f"{turn['role']}: {turn['content']}" for turn in example.context]
    options = [f"{letter}. {text}" for letter, text in zip(ascii_uppercase, example.options, strict=False)]
    return "\n".join([*turns, example.prompt, *options])
