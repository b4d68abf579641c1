"""Stands in for a vLLM server: `python vllm_standin.py serve MODEL --port ...`, with as much of its API as is used.

Its model of hashed numbers has a distribution for each weights and last token. What the environment may ask of it:

STANDIN_SAYS: a text to write to the output first;  STANDIN_FAILS: end with this status then;
STANDIN_CALLS: a file for every request it gets, a line of JSON each;  STANDIN_DIES: end hard at this many completions;
STANDIN_ENGINE: a file for the id of a process that it starts, as vLLM starts its engine, and that ignores SIGTERM;
STANDIN_IGNORES_LORA: adapters are listed, and change nothing;  STANDIN_SHIFTS: its tokenizer's ids are off by so many;
STANDIN_MASKS: log-probabilities are those after the sampling's options;  STANDIN_NEVER: it is never healthy.
"""

import hashlib
import json
import math
import os
import subprocess
import sys
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

VOCABULARY = 99
LETTERS = range(32, 90)
"""Tokens of the tiny model that the stand-in says."""

_lock = threading.Lock()


class Model:
    """What is served: base and adapters by name."""

    def __init__(self, arguments: list[str]) -> None:
        options = _options(arguments)
        self.root = arguments[0]
        self.limit = int(options.get("max-model-len", ["4096"])[0])
        self.name = options["served-model-name"][0]
        self.adapters = dict(each.split("=", 1) for each in options.get("lora-modules", []))
        self.takes_adapters = "VLLM_ALLOW_RUNTIME_LORA_UPDATING" in os.environ
        self.completions = 0

    def cards(self) -> list[dict[str, Any]]:
        base = {"id": self.name, "root": self.root, "parent": None, "max_model_len": self.limit}
        adapters = [{"id": n, "root": p, "parent": self.name, "max_model_len": None} for n, p in self.adapters.items()]
        return [base, *adapters]

    def weights(self, name: str) -> str:
        """Stands for the weights behind a name."""
        if name == self.name or "STANDIN_IGNORES_LORA" in os.environ:
            return "base"
        return _content(self.adapters[name])

    def tokens(self, text: str) -> list[int]:
        shift = int(os.environ.get("STANDIN_SHIFTS", "0"))
        return [(id_ + shift) % VOCABULARY for id_ in _tokenizer(self.root).encode(text, add_special_tokens=False).ids]

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        prompts = body["prompt"] if isinstance(body["prompt"][0], list) else [body["prompt"]]
        return {"choices": [self._choice(i, prompt, body) for i, prompt in enumerate(prompts)]}

    def _choice(self, index: int, prompt: list[int], body: dict[str, Any]) -> dict[str, Any]:
        weights, said, values, tops = self.weights(body["model"]), list(prompt), [], []
        wanted = body.get("logprob_token_ids") or []
        finish = "length"
        for step in range(body["max_tokens"]):
            logprobs = _logprobs(weights, said[-1])
            token = _draw(logprobs, body, said, step)
            said.append(token)
            shown = [token, *wanted]
            if "STANDIN_MASKS" in os.environ:
                logprobs = [0.0 if id_ == token else -9999.0 for id_ in range(VOCABULARY)]
            values.append(logprobs[token])
            tops.append({f"token_id:{id_}": logprobs[id_] for id_ in shown})
            if token in body["stop_token_ids"]:
                finish = "stop"
                break
        tokens = [f"token_id:{token}" for token in said[len(prompt) :]]
        logprobs_ = {"tokens": tokens, "token_logprobs": values, "top_logprobs": tops}
        return {"index": index, "text": "?", "finish_reason": finish, "logprobs": logprobs_}


@cache
def _logprobs(weights: str, last: int) -> list[float]:
    """log P of each token after `last`."""
    scores = [_number(weights, last, id_) % 1000 / 150 for id_ in range(VOCABULARY)]
    scores = [score + 2 if id_ in LETTERS else score for id_, score in enumerate(scores)]
    whole = math.log(sum(map(math.exp, scores)))
    return [score - whole for score in scores]


def _draw(logprobs: list[float], body: dict[str, Any], said: list[int], step: int) -> int:
    if body.get("allowed_token_ids"):
        return max(body["allowed_token_ids"], key=lambda id_: logprobs[id_])
    if step and _number("end", *said[-2:]) % 12 == 0 and body["stop_token_ids"]:
        return int(min(body["stop_token_ids"]))
    best = sorted(LETTERS, key=lambda id_: -logprobs[id_])
    return best[_number(body.get("seed", "none"), *said) % 5 if body["temperature"] else 0]


def _number(*parts: object) -> int:
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=6).digest(), "big")


@cache
def _content(folder: str) -> str:
    return hashlib.sha256(Path(folder, "adapter_model.safetensors").read_bytes()).hexdigest()


@cache
def _tokenizer(folder: str) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(Path(folder, "tokenizer.json")))


def _options(arguments: list[str]) -> dict[str, list[str]]:
    options: dict[str, list[str]] = {}
    for argument in arguments:
        if argument.startswith("--"):
            options[argument[2:]] = []
        elif options:
            list(options.values())[-1].append(argument)
    return options


class Handler(BaseHTTPRequestHandler):
    model: Model
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path == "/health":
            self._send(503 if "STANDIN_NEVER" in os.environ else 200, {})
        elif self.path == "/v1/models":
            self._send(200, {"object": "list", "data": self.model.cards()})
        else:
            self._refuse(404, "Not Found")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "STANDIN_CALLS" in os.environ:
            with _lock, Path(os.environ["STANDIN_CALLS"]).open("a") as calls:
                key = self.headers.get("authorization", "")
                calls.write(json.dumps({"path": self.path, "key": key, **body}) + "\n")
        if self.path == "/tokenize":
            self._send(200, {"tokens": self.model.tokens(body["prompt"])})
        elif self.path == "/v1/load_lora_adapter" and self.model.takes_adapters:
            self.model.adapters[body["lora_name"]] = body["lora_path"]
            self._send(200, {})
        elif self.path == "/v1/unload_lora_adapter" and self.model.takes_adapters:
            del self.model.adapters[body["lora_name"]]
            self._send(200, {})
        elif self.path == "/v1/completions":
            self._complete(body)
        else:
            self._refuse(404, "Not Found")

    def _complete(self, body: dict[str, Any]) -> None:
        with _lock:
            self.model.completions += 1
            if str(self.model.completions) == os.environ.get("STANDIN_DIES"):
                print(
                    "(EngineCore pid=7) ERROR 11-23 06:38:45 [core.py:9] RuntimeError: the engine fell over", flush=True
                )
                os._exit(1)
        if body["model"] != self.model.name and body["model"] not in self.model.adapters:
            self._refuse(404, f"The model `{body['model']}` does not exist.")
            return
        self._send(200, self.model.complete(body))

    def _refuse(self, status: int, message: str) -> None:
        self._send(status, {"error": {"message": message, "type": "BadRequestError", "param": None, "code": status}})

    def _send(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Listener(ThreadingHTTPServer):
    request_queue_size = 1024


def serve(arguments: list[str]) -> Listener:
    """The server, listening."""
    handler = type("Handler", (Handler,), {"model": Model(arguments)})
    return Listener(("127.0.0.1", int(_options(arguments)["port"][0])), handler)


def main() -> None:
    print(os.environ.get("STANDIN_SAYS", "ready to stand in, device_config=cuda, seed=0"), flush=True)
    if "STANDIN_FAILS" in os.environ:
        sys.exit(int(os.environ["STANDIN_FAILS"]))
    if "STANDIN_ENGINE" in os.environ:
        script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        engine = subprocess.Popen([sys.executable, "-c", script])
        Path(os.environ["STANDIN_ENGINE"]).write_text(str(engine.pid))
    serve(sys.argv[2:]).serve_forever()


if __name__ == "__main__":
    main()
