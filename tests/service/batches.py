"""/batches: create, look up, list, cancel. A batch moves on each time it is looked at."""

import itertools
import json
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from service.chat import Chat, question
from service.files import Files
from service.http import Call, Reply, refusal, reply

OUTCOMES = ("completed", "partial", "expired", "failed", "cancelled")
"""`partial`: completed, with every third line in the error file."""


@dataclass
class Batch:
    """One batch and how it will end."""

    id: str
    input_file_id: str
    endpoint: str
    outcome: str
    looks: int
    """How often it is looked at before it has ended."""
    status: str = "validating"
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def described(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "input_file_id": self.input_file_id,
            "completion_window": "24h",
            "created_at": 1_700_000_000,
            "status": self.status,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "errors": {"object": "list", "data": self.errors} if self.errors else None,
            "request_counts": {name: self.counts[name] for name in ("total", "completed", "failed")},
        }


class Batches:
    """The endpoint; `outcomes` says how the next batches end, completed if it is empty."""

    def __init__(self, files: Files, chat: Chat, answered: Counter[str]) -> None:
        self._files, self._chat, self._answered = files, chat, answered
        self.made: dict[str, Batch] = {}
        self.outcomes: deque[str] = deque()
        self.looks = 2
        """How often a batch is looked at before it has ended."""
        self.waiting = False
        """Nothing moves on while this is set."""
        self.most_lines = 50_000
        self.custom_ids: Counter[str] = Counter()
        """How often each line was answered well."""
        self._numbers = itertools.count(1)

    def __call__(self, call: Call) -> Reply:
        _, _, rest = call.path.partition("/batches")
        id_, _, what = rest.strip("/").partition("/")
        if not id_:
            if call.method == "POST":
                return self._create(call.json())
            listed = [batch.described() for batch in self.made.values()]
            return reply({"object": "list", "data": listed, "has_more": False})
        if id_ not in self.made:
            return refusal(404, f"No batch found with id '{id_}'.")
        batch = self.made[id_]
        if what == "cancel":
            batch.outcome, batch.looks = "cancelled", 0
        elif not self.waiting:
            self._move(batch)
        return reply(batch.described())

    def _create(self, body: dict[str, Any]) -> Reply:
        if body["input_file_id"] not in self._files.stored:
            return refusal(400, f"No such File object: {body['input_file_id']}")
        if body["endpoint"] != "/v1/chat/completions":
            return refusal(400, "This server has batches of chat completions only.")
        outcome = self.outcomes.popleft() if self.outcomes else "completed"
        batch = Batch(f"batch_{next(self._numbers)}", body["input_file_id"], body["endpoint"], outcome, self.looks)
        self.made[batch.id] = batch
        return reply(batch.described())

    def _move(self, batch: Batch) -> None:
        if batch.status in OUTCOMES:
            return
        lines = self._files.stored[batch.input_file_id].content.splitlines()
        batch.counts["total"] = len(lines)
        batch.looks -= 1
        if batch.looks > 0:
            batch.status = "in_progress"
            batch.counts["completed"] = len(lines) // (batch.looks + 1)
        elif batch.outcome == "failed" or len(lines) > self.most_lines:
            batch.status, batch.counts = "failed", Counter(total=0)
            batch.errors = [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached.", "line": None}]
        else:
            self._end(batch, lines)

    def _end(self, batch: Batch, lines: list[bytes]) -> None:
        good, bad = [], []
        for number, line in enumerate(lines):
            content = json.loads(line)
            ends_well, result = self._line(batch.outcome, number, content)
            (good if ends_well else bad).append(result)
            if ends_well:
                self.custom_ids[content["custom_id"]] += 1
                self._answered[question(json.dumps(content["body"]).encode())] += 1
        batch.counts = Counter(total=len(lines), completed=len(good), failed=len(bad))
        batch.output_file_id = self._store(good, "output")
        batch.error_file_id = self._store(bad, "error")
        batch.status = "completed" if batch.outcome == "partial" else batch.outcome

    def _line(self, outcome: str, number: int, content: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
        """Whether a line of the input is answered well, and its line in the output or error file."""
        made: dict[str, Any] = {"id": f"batch_req_{number}", "custom_id": content["custom_id"]}
        if outcome in ("expired", "cancelled") and number % 2:
            error = {"code": f"batch_{outcome}", "message": "This request could not be executed."}
            return False, {**made, "response": None, "error": error}
        if outcome == "partial" and number % 3 == 0:
            answer = refusal(500, "The server had an error while processing your request.")
        else:
            answer = self._chat.answer(content["body"])
        response = {"status_code": answer.status, "request_id": "req_1", "body": json.loads(answer.body)}
        return answer.status == 200, {**made, "response": response, "error": None}

    def _store(self, lines: list[dict[str, Any]], what: str) -> str | None:
        if not lines:
            return None
        content = b"".join(json.dumps(line).encode() + b"\n" for line in reversed(lines))  # in no promised order
        return self._files.add(f"{what}.jsonl", "batch_output", content).id

    def ended(self) -> Iterator[Batch]:
        """The batches that have ended."""
        return (batch for batch in self.made.values() if batch.status in OUTCOMES)
