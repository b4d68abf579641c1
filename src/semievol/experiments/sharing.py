"""What the runs of a grid have in common: finished stages by their keys, and answers by what was asked.

<shelf>/
  stages/warmup-<digest>/ ...   finished stages, as hard links if the file system has them
  answers.sqlite                every answer, by a digest of weights, prompt and sampling
  rows/                         the user's rows as the stages read them

The runs themselves lie beside it, in runs/.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from semievol.backends import Backend
from semievol.config import Config
from semievol.config.backend import SPEED_OPTIONS, VLLM_SPEED_OPTIONS
from semievol.costs.budget import costs
from semievol.records import Request, Response
from semievol.run_folder.files import draft_of, sweep
from semievol.run_folder.folder import LEDGER, RunFolder
from semievol.run_folder.place import on_disk
from semievol.run_folder.stage import Stage
from semievol.stages.round import CODE_VERSION


class Shelf:
    """A folder that several runs take finished work from and leave it in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows_path = path / "rows"
        sweep(path / "stages")

    def take(self, stage: Stage) -> bool:
        """Whether another run has finished the stage under the same key; then its results lie in the folder."""
        place = self._place(stage)
        if not place.exists():
            return False
        target = on_disk(stage.path)
        beside = _copied(place, target)
        shutil.rmtree(target)
        beside.rename(target)
        return True

    def leave(self, stage: Stage) -> None:
        """Leaves a finished stage for the other runs, unless some of it may change yet."""
        place = self._place(stage)
        if stage.may_change or place.exists():
            return
        beside = _copied(on_disk(stage.path), place)
        try:
            beside.rename(place)
        except OSError:
            shutil.rmtree(beside)
            if not place.exists():  # else another process was faster
                raise

    def _place(self, stage: Stage) -> Path:
        return self.path / "stages" / f"{stage.name}-{stage.digest}"

    def answering(self, backend: Backend, config: Config, weights: Mapping[str, str]) -> Backend:
        """The backend, asked only what nobody has asked it before."""
        return RememberingBackend(backend, AnswerCache(self.path / "answers.sqlite"), config, weights)

    def paid_beside(self, folder: RunFolder) -> float:
        """Dollars that services have charged the other runs of the grid: `costs.max_cost` is for all together."""
        # os.walk passes over folders that another process of the grid has renamed in the meantime; glob does not
        walked = os.walk(self.path.parent / "runs")
        ledgers = (Path(run) for run, _, files in walked if LEDGER in files and Path(run) != folder.path)
        return sum(costs(RunFolder(ledger)).dollars for ledger in ledgers)

    def close(self) -> None:
        """Frees nothing: the other runs want the same model."""


def _copied(source: Path, target: Path) -> Path:
    """A folder beside `target` with the files of `source`, without the stages below it, which have their own keys."""
    beside = draft_of(target)
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(source, beside, copy_function=_link, ignore=_stages_below)
    return beside


def _stages_below(folder: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name / "key.json").exists()]


def _link(source: str, target: str) -> None:
    """A hard link, which costs no room; a copy if the file system has none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


class AnswerCache:
    """Responses on disk by a digest of what was asked, each with the call that computed it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=60)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("CREATE TABLE IF NOT EXISTS answers (asked BLOB PRIMARY KEY, call BLOB, response TEXT)")

    def find(self, request: bytes) -> tuple[bytes, dict[str, Any]] | None:
        """The call that computed it, and the response's fields; `None` if nobody asked."""
        row = self._db.execute("SELECT call, response FROM answers WHERE asked = ?", (request,)).fetchone()
        return None if row is None else (row[0], json.loads(row[1]))

    def add(self, request: bytes, call: bytes, response: Response) -> None:
        """Keeps a response."""
        fields = json.dumps(dataclasses.asdict(response), ensure_ascii=False)
        self._db.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", (request, call, fields))

    def close(self) -> None:
        """Closes the file."""
        self._db.close()


class RememberingBackend:
    """A backend before which stands a memory of all answers.

    Requests that other calls have had answered do not reach the engine. Those that a call itself had answered before
    it was interrupted do, as finished ones, so that the engine forms the batches that it formed then.
    """

    def __init__(self, backend: Backend, answers: AnswerCache, config: Config, weights: Mapping[str, str]) -> None:
        self._backend, self._answers, self._weights = backend, answers, weights
        self.scores = backend.scores
        self._engine = [
            dict(CODE_VERSION),
            config.model.identity(),
            config.backend.model_dump(
                mode="json", exclude={"service": set(SPEED_OPTIONS), "vllm": set(VLLM_SPEED_OPTIONS)}
            ),
        ]

    def generate(
        self,
        requests: Sequence[Request],
        finished: Container[str] = (),
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Response]:
        """One response for each request that is not `finished`: the known ones, then those of the engine."""
        digests = {request.id: self._digest(request) for request in requests}
        call = hashlib.sha256(b"".join(digests.values())).digest()
        open_, own_ids = [], set[str]()
        for request in requests:
            kept = self._answers.find(digests[request.id])
            if kept is None or kept[0] == call:
                open_.append(request)
            if kept is not None:
                own_ids.add(request.id)
                if request.id not in finished:
                    yield _response(request.id, kept[1])
        if not open_:
            return
        for response in self._backend.generate(open_, _Either(finished, own_ids), stop):
            if response.finish != "error":
                self._answers.add(digests[response.id], call, response)
            yield response

    def prompt_tokens(self, request: Request) -> int:
        """Number of tokens of the request's prompt, its given response included."""
        return self._backend.prompt_tokens(request)

    def max_length(self) -> int:
        """The most tokens that prompt and response may have together."""
        return self._backend.max_length()

    def close(self) -> None:
        """Frees the engine and closes the memory."""
        self._backend.close()
        self._answers.close()

    def _digest(self, request: Request) -> bytes:
        """Stands for everything that the answer depends on; a greedy one does not depend on a seed."""
        sampling = dataclasses.asdict(request.sampling)
        if not request.sampling.temperature:
            sampling["seed"] = 0
        content = [self._engine, self._made_from(request.weights), request.messages, sampling, request.response]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()

    def _made_from(self, name: str) -> str:
        """The digest of the key of the stage that trained the weights; their name at a service."""
        where = self._weights.get(name)
        if where is None:
            return name
        stage = Stage(Path(where).parent)
        return stage.digest if stage.is_done else where


class _Either(Container[str]):
    """What is in one of two containers."""

    def __init__(self, first: Container[str], second: Container[str]) -> None:
        self._one, self._other = first, second

    def __contains__(self, item: object) -> bool:
        return item in self._one or item in self._other


def _response(id_: str, fields: dict[str, Any]) -> Response:
    logprobs = fields["logprobs"]
    return Response(**{**fields, "id": id_, "logprobs": None if logprobs is None else tuple(logprobs)})
