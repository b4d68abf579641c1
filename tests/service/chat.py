"""POST /chat/completions: answers of word-counting models, with log-probabilities."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semievol.backends.fake import VOTES_FILE, FakeBackend
from semievol.config import build
from semievol.records import Request, Sampling
from service.http import Call, Reply, refusal, reply

ANSWER_FAULTS = ("empty", "refusal", "filtered", "no-logprobs")
"""Faults in an answer that comes with status 200."""


class Models:
    """The models that answer, by name."""

    def __init__(self, noise: float) -> None:
        self._config = build({"backend": {"kind": "fake", "fake_noise": noise}})
        self._engines: dict[str, FakeBackend] = {}

    def add(self, name: str, votes: str | None = None) -> None:
        """A model with these weights: a folder of the fake trainer, or none for an untrained one."""
        self._engines[name] = FakeBackend(self._config, {} if votes is None else {"tuned": votes})

    def names(self) -> list[str]:
        return list(self._engines)

    def find(self, name: str) -> FakeBackend | None:
        """The model; a folder with weights is one too, as an adapter's path is on a server of one's own."""
        if name not in self._engines and Path(name, VOTES_FILE).exists():
            self.add(name, name)
        return self._engines.get(name)


class Chat:
    """The endpoint, and what it refuses."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self.unsupported: dict[str, str] = {}
        """Field -> the message with which a request that has it is refused."""
        self.temperatures: set[float] | None = None
        """The temperatures that are allowed; all if it is not set."""
        self.context = 100_000
        """The most words that prompt and answer may have."""

    def __call__(self, call: Call, fault: str | None = None) -> Reply:
        try:
            body = call.json()
        except ValueError:
            return refusal(400, "We could not parse the JSON body of your request.")
        return self.answer(body, fault)

    def answer(self, body: Mapping[str, Any], fault: str | None = None) -> Reply:
        """The completion of one request, by itself or as a line of a batch."""
        if refused := self._refused(body):
            return refused
        content = self._completion(body)
        choice = content["choices"][0]
        if fault == "empty":
            choice["message"]["content"], choice["logprobs"] = "", {"content": [], "refusal": None}
        elif fault == "refusal":
            choice["message"] |= {"content": None, "refusal": "I cannot help with that."}
        elif fault == "filtered":
            choice["message"]["content"], choice["finish_reason"] = "", "content_filter"
        elif fault == "no-logprobs":
            choice["logprobs"] = None
        return reply(content)

    def _refused(self, body: Mapping[str, Any]) -> Reply | None:
        for field, message in self.unsupported.items():
            if field in body:
                return refusal(400, message, "unsupported_parameter", field)
        temperature = body.get("temperature", 1)
        if self.temperatures is not None and temperature not in self.temperatures:
            message = f"Unsupported value: 'temperature' does not support {temperature} with this model."
            return refusal(400, message, "unsupported_value", "temperature")
        if self.models.find(body["model"]) is None:
            return refusal(404, f"The model `{body['model']}` does not exist.", "model_not_found", "model")
        words = sum(len(message["content"].split()) for message in body["messages"])
        if words + _room(body) > self.context:
            message = f"This model's maximum context length is {self.context} tokens; you asked for {words}."
            return refusal(400, message, "context_length_exceeded", "messages")
        return None

    def _completion(self, body: Mapping[str, Any]) -> dict[str, Any]:
        engine = self.models.find(body["model"])
        assert engine is not None
        weights = "tuned" if engine._weights else "base"
        sampling = Sampling(body.get("temperature", 1), body.get("top_p", 1), _room(body), body.get("seed", 0))
        (said,) = engine.generate([Request("", tuple(body["messages"]), weights, sampling)])
        words = said.text.split(" ")[: _room(body)]
        tokens = [words[0], *(f" {word}" for word in words[1:])]
        logprobs = None
        if body.get("logprobs"):
            share = (said.logprobs or (0.0,))[0]
            entries = [{"token": t, "logprob": share, "bytes": list(t.encode()), "top_logprobs": []} for t in tokens]
            logprobs = {"content": entries, "refusal": None}
        used = {"prompt_tokens": said.prompt_tokens, "completion_tokens": len(tokens)}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": body["model"],
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "".join(tokens), "refusal": None},
                    "logprobs": logprobs,
                    "finish_reason": "length" if len(words) < len(said.text.split(" ")) else "stop",
                }
            ],
            "usage": {**used, "total_tokens": sum(used.values())},
        }


def _room(body: Mapping[str, Any]) -> int:
    return int(body.get("max_completion_tokens") or body.get("max_tokens") or 16)


def question(body: bytes) -> str:
    """What stands for a chat request in the log: all that decides its answer, whatever the order of the fields."""
    return json.dumps(json.loads(body), sort_keys=True)
