"""Services that send rubbish: bodies that are read one by one, and whole runs of which every fourth answer is spoiled.

A body is `read` if it comes to a response, and a `failed request` if it comes to a reason. Both have to be writable:
into a journal and a log. Anything else is `raw`. A run is `finished` if it ends with its reasons kept, or `ended in one
line`, and if the same command comes to an end once the service is well, with every request answered but those that
would fail again; else its failure `comes again`.
"""

import copy
import dataclasses
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faults.tally import Tally
from samples import topics_config
from semievol.backends.service.answers import read_answer
from semievol.backends.service.batch_api import read_lines
from semievol.backends.service.failures import Failure, of_status
from semievol.config import Config
from semievol.errors import SemiEvolError
from semievol.pipeline import run
from semievol.records import Message, Request, Sampling
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.journal import Journal
from service import Service
from service.batches import Batches
from service.http import Reply

WRONG = ("raw", "comes again")

REQUEST = Request("row/base", (Message(role="user", content="rain?"),), "base", Sampling(max_tokens=8))
GOOD: dict[str, Any] = {
    "id": "x",
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "weather", "refusal": None},
            "logprobs": {
                "content": [
                    {"token": "wea", "logprob": -0.25, "bytes": [119, 101, 97], "top_logprobs": []},
                    {"token": "ther", "logprob": -0.5, "bytes": [116, 104, 101, 114], "top_logprobs": []},
                ]
            },
        }
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 0}},
}
REFUSAL = {"error": {"message": "too long", "type": "invalid_request_error", "param": "messages", "code": "a"}}
LINE = {"id": "r", "custom_id": "row/base", "error": None, "response": {"status_code": 200, "body": GOOD}}

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 300, 10**30, 10**400, -(10**19), 0.5, -1e308, 1e308, float("nan"), float("inf"),
    "", " ", "\x00", "\ud83d", "sport \ud83d", "weather", "x" * 3000, "NaN", "<html>", "\u202e", "\U0001d7d9",
    [], [None], [[]], ["a"], [300], [-1], ["\udfff"], [1, "a"], {}, {"a": 1}, {"message": {"a": []}}, [{"logprob": 1}],
)  # fmt: skip
HEADERS = (
    "",
    "0",
    "-5",
    "9" * 400,
    "1e12",
    "1.1.1",
    "nan",
    "inf",
    "Wed, 21 Oct 9999 07:28:00 GMT",
    "soon",
    "\x00",
    "٣",
)


def spoiled(content: Any, rng: random.Random) -> Any:
    """A copy of a JSON value of which one to three parts are replaced, removed, doubled or put one deeper."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = list(_places(content))
        if not places:
            return rng.choice(ODD)
        holder, name = rng.choice(places)
        change = rng.randrange(6)
        if change == 0:
            del holder[name]
        elif change == 1:
            holder[name] = [holder[name]]
        elif change == 2:
            holder[name] = {"value": holder[name]}
        elif change == 3 and isinstance(holder[name], list):
            holder[name] = holder[name] * 2
        else:
            holder[name] = copy.deepcopy(rng.choice(ODD))
    return content if rng.random() > 0.02 else rng.choice(ODD)


def _places(content: Any) -> Any:
    """Every part of a JSON value: what holds it, and its name or position there."""
    entries = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for name, value in list(entries):
        yield content, name
        yield from _places(value)


def damaged_bytes(text: bytes, rng: random.Random) -> bytes:
    """What may come over a line in place of JSON."""
    at = rng.randrange(len(text) + 1)
    return rng.choice(
        (
            text[:at],
            text[:at] + b"\xff\xfe" + text[at:],
            b"[" * 100_000,
            b'{"choices": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
            b'{"choices": [], "x": ' + b"9" * 5_000 + b"}",
            b"<html>502</html>",
            b"data: {}\n\ndata: [DONE]\n\n",
            b"\x00" * 64,
            b"",
        )
    )


def as_sent(content: Any) -> bytes:
    return json.dumps(content).encode()


def try_bodies(folder: Path, cases: int, seed: int = 0) -> Tally:
    """What came of so many answers, refusals and lines of batches."""
    rng, tally = random.Random(seed), Tally()
    journal = Journal(folder / "part-00000.jsonl")
    with journal.writer([REQUEST]) as write:
        for _ in range(cases):
            kind = rng.randrange(3)
            body = spoiled((GOOD, REFUSAL, LINE)[kind], rng)
            try:
                outcome = (_answered, _refused, _line)[kind](body, rng)
                if isinstance(outcome, Failure):
                    (outcome.reason + str(outcome.field)).encode()
                    assert outcome.wait is None or outcome.wait >= 0
                elif outcome is not None:
                    write(outcome)
                    assert 0 <= outcome.prompt_tokens < 2**62 > outcome.completion_tokens >= 0
                tally.add("failed request" if isinstance(outcome, Failure) else "read" if outcome else "passed over")
            except Exception as error:
                tally.add("raw", f"{type(error).__name__}: {error}: {body!r:.300}")
    return tally


def _answered(body: Any, rng: random.Random) -> Any:
    return read_answer(REQUEST, body)


def _refused(body: Any, rng: random.Random) -> Any:
    return of_status(rng.choice((400, 401, 404, 413, 422, 429, 500, 503)), body, {"retry-after": rng.choice(HEADERS)})


def _line(body: Any, rng: random.Random) -> Any:
    line = as_sent(body).replace(b"\n", b" ") if rng.random() < 0.8 else damaged_bytes(as_sent(body), rng)
    for id_, status, content in read_lines("file-1", line):
        assert isinstance(id_, str)
        return read_answer(REQUEST, content) if status == 200 else of_status(status, content, {})
    return None


class Rubbish(Service):
    """Spoils what every fourth question is answered, by itself or in a batch, as long as it is `ill`."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.ill, self.seed = True, seed
        self.batches = _OddBatches(self)
        self.batches.looks = 1

    def rng_of(self, body: bytes) -> random.Random | None:
        """What draws the rubbish for a question; `None` if it is answered well."""
        rng = random.Random(f"{self.seed}{body!r}")
        return rng if self.ill and rng.random() < 0.25 else None

    async def _chat(self, call: Any, fault: Any) -> Reply | None:
        answer = await super()._chat(call, fault)
        if answer is None or answer.status != 200 or (rng := self.rng_of(call.body)) is None:
            return answer
        content = spoiled(json.loads(answer.body), rng)
        body = as_sent(content) if rng.random() < 0.8 else damaged_bytes(as_sent(content), rng)
        return dataclasses.replace(answer, body=body)


class _OddBatches(Batches):
    def __init__(self, service: Rubbish) -> None:
        super().__init__(service.files, service.chat, service.log.answered)
        self._service = service

    def _store(self, lines: list[dict[str, Any]], what: str) -> str | None:
        if not lines or not self._service.ill:
            return super()._store(lines, what)
        content = []
        for line in lines:
            rng = self._service.rng_of(line["custom_id"].encode())
            if rng is None:
                content.append(as_sent(line))
            else:
                sent = as_sent(spoiled(line, rng))
                content.append(sent if rng.random() < 0.8 else damaged_bytes(sent, rng).replace(b"\n", b" "))
        return self._files.add(f"{what}.jsonl", "batch_output", b"\n".join(content)).id


def config_of(folder: Path, url: str, mode: str) -> Config:
    service = {
        "base_url": url,
        "retry_wait": 0.001,
        "longest_wait": 0.01,
        "timeout": 20,
        "max_retries": 1,
        "mode": mode,
    }
    return topics_config(
        folder,
        backend={"kind": "openai", "service": service},
        model={"name": "base"},
        warmup={"enabled": False},
        evolve={"enabled": True},
        collaborate={"collaborators": [{"weights": "base", "examples": k} for k in (0, 1)]},
        evaluate={"models": ["base"]},
    )


def try_runs(folder: Path, runs: int, seed: int = 0, say: Callable[[str], None] = lambda line: None) -> Tally:
    """What came of so many runs, every other one in batches."""
    tally = Tally()
    for number in range(runs):
        mode = ("realtime", "batch")[number % 2]
        shutil.rmtree(folder / "run", ignore_errors=True)
        with Rubbish(seed + number) as service:
            try:
                run(config_of(folder, service.url, mode))
                verdict = "finished"
            except SemiEvolError:
                verdict = "ended in one line"
            except Exception as error:
                tally.add("raw", f"{mode}, seed {seed + number}: {type(error).__name__}: {error}")
                continue
            service.ill = False
            try:
                run(config_of(folder, service.url, mode))
            except Exception as error:
                tally.add("raw", f"{mode}, seed {seed + number}, well again: {type(error).__name__}: {error}")
                continue
        stages = RunFolder(folder / "run").stages()
        open_reasons = [reason for _, stage in stages for reason, permanent in stage.failures() if not permanent]
        if open_reasons or not stages[-1][1].is_done:
            tally.add("comes again", f"{mode}, seed {seed + number}: {open_reasons[:3]}")
            continue
        tally.add(verdict)
        say(f"{mode}: {verdict}")
    return tally
