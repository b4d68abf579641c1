"""What is asked and trained on: rows of three data sets, the requests that the stages make of them, a warm adapter.

A run of the pipeline up to `justify` makes a workload, before anything is timed. So prompts, retrieved examples,
candidates and seeds are those of a real run, and every way answers the same ones: the justifications that are asked
are those of the recorded run, whatever a way's own samples were.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.pages import ROOT
from semievol.config import Config
from semievol.errors import DataError
from semievol.records import Request, Sampling, TrainingExample

CACHE = ROOT / "runs" / "speed"
STAGES = ("collaborate", "justify", "score")


@dataclass(frozen=True)
class Size:
    """How much of a data set is taken."""

    rows: int
    """Unlabeled rows that are answered."""
    train_rows: int
    """Labeled rows of the timed trainings, which make one pass."""
    labeled: int
    """Rows that are retrieved from, and that train the warm adapter."""
    epochs: int
    """Passes of the warm adapter's training."""


@dataclass(frozen=True)
class Kind:
    """One data set."""

    title: str
    config: str
    size: Size
    overrides: tuple[str, ...] = ()


KINDS = {
    "newsgroups": Kind(
        "20 Newsgroups (the demo): short",
        "demo.yaml",
        Size(rows=10, train_rows=32, labeled=100, epochs=2),
        # The demo takes a vote. Here M_warm is asked, so that all three kinds of requests occur.
        ("justify.mode=disagreements", "data.test_rows=1"),
    ),
    "fpb": Kind("Financial PhraseBank: short", "fpb-smollm2.yaml", Size(10, 24, 100, 2)),
    "pubmedqa": Kind("PubMedQA: long", "pubmedqa-smollm2.yaml", Size(3, 8, 32, 2)),
}
QUICK = Size(rows=3, train_rows=16, labeled=16, epochs=3)
"""For a smoke test: the answers of such a warm model mean nothing."""


@dataclass(frozen=True)
class Workload:
    """One data set, ready to be timed; read by the process of each way."""

    folder: Path

    @property
    def facts(self) -> dict[str, Any]:
        """Counts, the truth by row id, and the settings that made the workload."""
        content: dict[str, Any] = json.loads((self.folder / "workload.json").read_text(encoding="utf-8"))
        return content

    @property
    def config(self) -> Config:
        """The run's config, its dtype decided."""
        import semievol

        config = semievol.load(self.folder / "config.yaml")
        backend = config.backend.model_copy(update={"kind": "transformers"})
        return config.model_copy(update={"backend": backend})

    @property
    def adapter(self) -> Path:
        """M_warm."""
        return self.folder / "warmup" / "adapter"

    def requests(self, repetition: int = 0, greedy: bool = False) -> dict[str, list[Request]]:
        """The requests of each stage, collaborators' samples drawn with other seeds in each repetition."""
        found: dict[str, list[Request]] = {stage: [] for stage in STAGES}
        for request in read_requests(self.folder / "requests.jsonl"):
            sampling = replace(request.sampling, seed=(request.sampling.seed + repetition) % 2**32)
            if greedy:
                sampling = replace(sampling, temperature=0.0)
            found[stage_of(request)].append(replace(request, sampling=sampling))
        return found

    def training(self) -> list[TrainingExample]:
        """The rows of the timed trainings."""
        rows = self.facts["training"]
        return [TrainingExample(row["id"], tuple(row["messages"]), row["response"]) for row in rows]


def stage_of(request: Request) -> str:
    """The kind of a request, by the stage that makes it."""
    if request.response is not None:
        return "score"
    return "justify" if request.id.endswith("/justify") else "collaborate"


def row_of(request_id: str) -> str:
    """The id of the row that a request is about: `<row>/<collaborator>`, `<row>/justify` or `<row>/score`."""
    return request_id.rpartition("/")[0]


def prepare(name: str, size: Size, folder: Path) -> dict[str, Any]:
    """The facts of a workload, which is made if it does not lie in `folder` already.

    Raises:
        DataError: the data set is not on this machine.
    """
    import semievol
    from semievol import pipeline
    from semievol.config import dump
    from semievol.data import load, read_answers
    from semievol.models.types import resolve_dtype
    from semievol.stages.warmup import TrainingRows

    kind = KINDS[name]
    overrides = [
        *kind.overrides,
        f"output={folder}",
        f"data.labeled_rows={max(size.labeled, size.train_rows)}",
        f"data.unlabeled_rows={size.rows}",
        f"warmup.training.num_train_epochs={size.epochs}",
        "executor.shard_rows=100000",
        "backend.kind=benchmarks.speed.recording:Recording",
    ]
    workload = Workload(folder)
    settings = {"name": name, **asdict(size), "overrides": list(kind.overrides)}
    if (folder / "workload.json").exists() and workload.facts["settings"] == settings:
        return workload.facts
    config = semievol.load(ROOT / "configs" / kind.config, overrides)
    model = config.model.model_copy(update={"dtype": resolve_dtype(config.model)})
    config = config.model_copy(update={"model": model})
    dataset = load(config)
    shutil.rmtree(folder, ignore_errors=True)
    pipeline.run(config, until="justify", dataset=dataset)
    (folder / "config.yaml").write_text(dump(config), encoding="utf-8")
    rows = TrainingRows(dataset.task, dataset.labeled[: size.train_rows])
    facts = {
        "settings": settings,
        "dtype": config.model.dtype,
        "truth": dict(read_answers(config, dataset.task)),
        "training": [{"id": row.id, "messages": row.messages, "response": row.response} for row in rows],
        **_counts(workload, rows),
    }
    (folder / "workload.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return facts


def missing(name: str) -> str | None:
    """Why a data set cannot be had on this machine; `None` if it can."""
    import semievol
    from semievol.data import load

    try:
        load(semievol.load(ROOT / "configs" / KINDS[name].config, ["data.unlabeled_rows=1", "data.labeled_rows=8"]))
    except DataError as error:
        return str(error)
    return None


def read_requests(path: Path) -> list[Request]:
    """The requests in a file of `Recording`, in the order in which they were made."""
    return [as_request(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def as_request(fields: dict[str, Any]) -> Request:
    """The request of its JSON form."""
    sampling = fields["sampling"]
    read = Sampling(**{**sampling, "stop": tuple(sampling.get("stop", ()))})
    return Request(**{**fields, "messages": tuple(fields["messages"]), "sampling": read})


def needed(sequences: list[list[int]]) -> int:
    """How many tokens an engine has to compute that computes every distinct prefix once: the prefix tree's size."""
    total, before = 0, list[int]()
    for sequence in sorted(sequences):
        shared = 0
        while shared < min(len(before), len(sequence)) and before[shared] == sequence[shared]:
            shared += 1
        total += len(sequence) - shared
        before = sequence
    return total


def _counts(workload: Workload, training: Sequence[TrainingExample]) -> dict[str, Any]:
    """Requests, tokens requested and tokens needed of each stage; tokens of the training rows."""
    from semievol.models.loading import load_template

    template = load_template(workload.config.model)
    requests, requested, least = {}, {}, {}
    for stage, asked in workload.requests().items():
        ids = [(one.weights, template.prompt(one.messages) + template.answer(one.response or "")) for one in asked]
        requests[stage] = len(ids)
        requested[stage] = sum(len(each) for _, each in ids)
        least[stage] = sum(needed([each for w, each in ids if w == name]) for name in {w for w, _ in ids})
    answers = [len(template.answer(row.response)) + 1 for row in training]  # with the end of the turn
    return {
        "requests": requests,
        "tokens_requested": requested,
        "tokens_needed": least,
        "training_tokens": sum(len(template.prompt(row.messages)) for row in training) + sum(answers),
        "training_answer_tokens": sum(answers),
    }
