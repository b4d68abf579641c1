"""The vLLM backend, with a process that stands in for the server."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from adapters import save_adapter
from processes import exists, soon
from samples import topics_config
from semievol.config import Config, build, dump
from semievol.errors import BackendError
from semievol.pipeline import run
from semievol.records import Message, Request, Response, Sampling

pytest.importorskip("torch")
pytest.importorskip("openai")

import vllm_standin
from semievol.backends.vllm.backend import VllmBackend
from semievol.backends.vllm.token_ids import PLACES
from semievol.models.loading import load_tokenizer
from tiny import end_of_turn, prompt_ids, response_ids, save_tiny_model

STANDIN = (sys.executable, vllm_standin.__file__, "serve")
QUESTIONS = ("oil", "What is wheat?", "What is rain?", "Is grain up?", "What is wheat worth?")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the requests that the server gets."""
    monkeypatch.setenv("STANDIN_CALLS", str(tmp_path / "calls.jsonl"))
    return tmp_path / "calls.jsonl"


def configured(model: str, folder: Path, **vllm: Any) -> Config:
    section = vllm if "url" in vllm else {"command": STANDIN, **vllm}
    return build(
        {
            "output": str(folder / "run"),
            "model": {"name": model, "dtype": "float32", "device": "cpu"},
            "backend": {"kind": "vllm", "vllm": section, "service": {"max_retries": 2, "retry_wait": 0.01}},
        }
    )


@pytest.fixture
def backend(model: str, tmp_path: Path) -> Iterator[VllmBackend]:
    made = VllmBackend(configured(model, tmp_path), {"warm": save_adapter(tmp_path / "warm")})
    yield made
    made.close()


def ask(question: str, weights: str = "base", temperature: float = 0.0, seed: int = 7, max_tokens: int = 12) -> Request:
    sampling = Sampling(temperature=temperature, max_tokens=max_tokens, seed=seed)
    return Request(f"{question}/{weights}", (Message(role="user", content=question),), weights, sampling)


def queue(temperature: float = 0.0) -> list[Request]:
    return [ask(question, weights, temperature) for question in QUESTIONS for weights in ("warm", "base")]


def answers(backend: VllmBackend, requests: list[Request]) -> dict[str, Response]:
    return {response.id: response for response in backend.generate(requests)}


def completions(calls: Path) -> list[dict[str, Any]]:
    """The requests for answers, without those of the checks before them."""
    lines = [json.loads(line) for line in calls.read_text().splitlines()]
    return [line for line in lines if line["path"] == "/v1/completions" and "repetition_penalty" in line]


def expected_scores(adapter: str | None, prompt: list[int], given: list[int]) -> list[float]:
    weights = "base" if adapter is None else vllm_standin._content(adapter)
    return [vllm_standin._logprobs(weights, last)[token] for last, token in pairwise([prompt[-1], *given])]


def test_each_request_is_answered_under_its_weights(backend: VllmBackend, tmp_path: Path) -> None:
    told = answers(backend, queue())
    assert set(told) == {request.id for request in queue()}
    tokenizer = backend._prompts.tokenizer
    for request in queue():
        response = told[request.id]
        tokens = response_ids(tokenizer, response.text)
        assert response.text
        assert response.completion_tokens == len(response.logprobs or ())
        if len(tokens) == response.completion_tokens:  # no space was stripped at the ends
            folder = str(tmp_path / "warm") if request.weights == "warm" else None
            prompt = prompt_ids(tokenizer, request.messages)
            assert response.logprobs == pytest.approx(expected_scores(folder, prompt, tokens))
    assert any(told[f"{q}/warm"].text != told[f"{q}/base"].text for q in QUESTIONS)


def test_the_end_of_a_turn_is_no_part_of_an_answer(backend: VllmBackend) -> None:
    told = answers(backend, queue())
    assert {response.finish for response in told.values()} == {"stop", "length"}
    for response in told.values():
        assert response.completion_tokens == 12 or response.finish == "stop"
        assert len(response.logprobs or ()) == response.completion_tokens
    ended = [response for response in told.values() if response.finish == "stop"]
    assert any(len(response.text) == response.completion_tokens for response in ended)  # a token a letter


@pytest.mark.parametrize("length", [1, 5, PLACES, 2 * PLACES + 3])
def test_a_given_response_is_scored_token_by_token(length: int, backend: VllmBackend, tmp_path: Path) -> None:
    text = "".join(chr(40 + place * 7 % 50) for place in range(length))
    tokenizer = backend._prompts.tokenizer
    requests = [dataclasses.replace(ask("oil", weights), response=text) for weights in ("base", "warm")]
    told = answers(backend, requests)
    for request, folder in zip(requests, (None, str(tmp_path / "warm")), strict=True):
        prompt, given = prompt_ids(tokenizer, request.messages), response_ids(tokenizer, text)
        assert told[request.id].logprobs == pytest.approx(expected_scores(folder, prompt, given))
        assert (told[request.id].finish, told[request.id].text) == ("scored", text)
        assert (told[request.id].prompt_tokens, told[request.id].completion_tokens) == (len(prompt), length)


def test_an_empty_response_has_no_tokens_to_score(backend: VllmBackend) -> None:
    (response,) = backend.generate([dataclasses.replace(ask("oil"), response="")])
    assert (response.finish, response.logprobs) == ("scored", ())


def test_prompts_are_sent_as_token_ids_and_the_servers_defaults_play_no_part(backend: VllmBackend, calls: Path) -> None:
    list(backend.generate([ask("oil", temperature=1.0)]))
    (call,) = completions(calls)
    tokenizer = backend._prompts.tokenizer
    assert call["prompt"] == [prompt_ids(tokenizer, ask("oil").messages)]
    assert {end_of_turn(tokenizer), tokenizer.eos_token_id} <= set(call["stop_token_ids"])
    assert (call["temperature"], call["top_p"], call["top_k"], call["repetition_penalty"]) == (1.0, 1.0, 0, 1.0)


def test_prompts_with_a_common_beginning_follow_one_another(model: str, tmp_path: Path, calls: Path) -> None:
    config = configured(model, tmp_path, max_concurrency=1)
    backend = VllmBackend(config, {"warm": save_adapter(tmp_path / "warm")})
    list(backend.generate(queue()))
    backend.close()
    sent = [(call["model"], call["prompt"][0]) for call in completions(calls)]
    assert len(sent) == len(queue())
    assert sent == sorted(sent)
    starts = [load_tokenizer(config.model).decode(prompt) for name, prompt in sent if name == "warm"]
    wheat = [index for index, text in enumerate(starts) if "wheat" in text]
    assert wheat[1] == wheat[0] + 1


def test_a_seed_goes_with_each_sampled_request(backend: VllmBackend, calls: Path) -> None:
    list(backend.generate([ask("oil", temperature=1.0, seed=41), ask("rain")]))
    assert sorted(call.get("seed", 0) for call in completions(calls)) == [0, 41]


@pytest.mark.parametrize("said", ["Initializing a V1 LLM engine, device_config=cpu, seed=0", "nothing of a device"])
def test_seeds_are_left_out_where_the_engine_may_compute_on_a_cpu(
    said: str, backend: VllmBackend, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_SAYS", said)
    list(backend.generate([ask("oil", temperature=1.0)]))
    assert all("seed" not in call for call in completions(calls))


def test_the_user_may_decide_about_seeds(model: str, tmp_path: Path, calls: Path) -> None:
    backend = VllmBackend(configured(model, tmp_path, send_seeds=False), {})
    list(backend.generate([ask("oil", temperature=1.0)]))
    backend.close()
    assert all("seed" not in call for call in completions(calls))


def test_what_is_finished_is_not_asked_and_alone_starts_no_server(backend: VllmBackend, calls: Path) -> None:
    everything = {request.id for request in queue()}
    assert list(backend.generate(queue(), everything)) == []
    assert not calls.exists()
    assert [r.id for r in backend.generate(queue(), everything - {"oil/warm"})] == ["oil/warm"]
    assert len(completions(calls)) == 1


def test_a_prompt_that_does_not_fit_is_refused_and_the_others_are_answered(backend: VllmBackend) -> None:
    told = answers(backend, [ask("oil"), ask("x" * 300)])
    assert told["oil/base"].finish in ("stop", "length")
    assert told["x" * 300 + "/base"].finish == "error"
    assert "do not fit in the model's 256" in str(told["x" * 300 + "/base"].error)


def test_once_stopped_nothing_more_is_begun(model: str, tmp_path: Path, calls: Path) -> None:
    backend = VllmBackend(configured(model, tmp_path, max_concurrency=1), {})
    told: list[Response] = []
    requests = [ask(f"question {number}") for number in range(20)]
    for response in backend.generate(requests, stop=lambda: len(told) >= 3):
        told.append(response)
    backend.close()
    assert 3 <= len(told) < 10
    assert len(completions(calls)) == len(told)


def test_a_user_who_stops_during_the_start_need_not_wait(backend: VllmBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_NEVER", "1")
    asked = iter(range(100))
    assert list(backend.generate(queue(), stop=lambda: next(asked) > 3)) == []


def test_a_server_that_dies_ends_the_run_with_its_reason(
    backend: VllmBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STANDIN_DIES", "30")
    told = []
    with pytest.raises(BackendError, match="vLLM ended: RuntimeError: the engine fell over") as raised:
        told.extend(backend.generate([ask(f"question {number}") for number in range(200)]))
    assert str(tmp_path / "run" / "logs" / "vllm.log") in str(raised.value)


def test_the_servers_output_is_in_the_logs_of_the_run(backend: VllmBackend, tmp_path: Path) -> None:
    list(backend.generate([ask("oil")]))
    log = (tmp_path / "run" / "logs" / "vllm.log").read_text()
    assert "--lora-modules warm=" in log
    assert log.splitlines()[-1].startswith("ready to stand in")


def test_an_adapter_that_the_server_does_not_apply_is_found_out(
    backend: VllmBackend, monkeypatch: pytest.MonkeyPatch, calls: Path
) -> None:
    monkeypatch.setenv("STANDIN_IGNORES_LORA", "1")
    with pytest.raises(BackendError, match=r"the adapter in \S+warm as it does without"):
        list(backend.generate(queue()))
    assert completions(calls) == []


def test_an_adapter_of_zeros_may_change_nothing(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_IGNORES_LORA", "1")
    backend = VllmBackend(configured(model, tmp_path), {"warm": save_adapter(tmp_path / "zero", seed=0)})
    assert len(list(backend.generate(queue()))) == len(queue())
    backend.close()


def test_a_server_with_other_tokens_is_found_out(
    backend: VllmBackend, monkeypatch: pytest.MonkeyPatch, calls: Path
) -> None:
    monkeypatch.setenv("STANDIN_SHIFTS", "1")
    with pytest.raises(BackendError, match=r"makes other tokens of the prompt of .*; set model\.name"):
        list(backend.generate(queue()))
    assert completions(calls) == []


def test_log_probabilities_after_masks_are_found_out(backend: VllmBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_MASKS", "1")
    with pytest.raises(BackendError, match="--logprobs-mode raw_logprobs"):
        list(backend.generate(queue()))


@pytest.fixture
def there(model: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server that somebody else has started."""
    monkeypatch.setenv("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "1")
    server = vllm_standin.serve([model, "--served-model-name", "tiny", "--port", "0", "--max-model-len", "300"])
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def served(url: str) -> set[str]:
    import urllib.request

    with urllib.request.urlopen(f"{url}/v1/models") as answer:
        return {card["id"] for card in json.loads(answer.read())["data"]}


def test_a_server_that_is_there_gets_the_adapters_under_names_of_their_content(
    there: str, model: str, tmp_path: Path
) -> None:
    backend = VllmBackend(configured(model, tmp_path, url=there), {"warm": save_adapter(tmp_path / "warm")})
    told = answers(backend, queue())
    assert any(told[f"{q}/warm"].text != told[f"{q}/base"].text for q in QUESTIONS)
    (name,) = served(there) - {"tiny"}
    assert name.startswith("semievol-")
    backend.close()
    assert served(there) == {"tiny"}
    assert not (tmp_path / "run").exists()


def test_a_server_that_takes_no_adapters_says_how_to_start_it(
    there: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = vllm_standin.serve([model, "--served-model-name", "tiny", "--port", "0"])
    server.RequestHandlerClass.model.takes_adapters = False  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    backend = VllmBackend(configured(model, tmp_path, url=url), {"warm": save_adapter(tmp_path / "warm")})
    with pytest.raises(BackendError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"):
        list(backend.generate(queue()))
    server.shutdown()
    server.server_close()


def test_a_server_with_another_model_is_found_out(there: str, tmp_path: Path) -> None:
    other = save_tiny_model(tmp_path / "other")
    with pytest.raises(BackendError, match=r"serves tiny \(.*\), and model.name is .*other; make them the same"):
        list(VllmBackend(configured(other, tmp_path, url=there), {}).generate([ask("oil")]))


def test_a_server_that_takes_shorter_prompts_is_found_out(model: str, tmp_path: Path) -> None:
    server = vllm_standin.serve([model, "--served-model-name", "tiny", "--port", "0", "--max-model-len", "100"])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    with pytest.raises(BackendError, match=r"takes 100 tokens and model\.max_length is 256"):
        list(VllmBackend(configured(model, tmp_path, url=url), {}).generate([ask("oil")]))
    server.shutdown()
    server.server_close()


def test_a_servers_key_comes_from_the_environment(
    there: str, model: str, tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "open sesame")
    backend = VllmBackend(configured(model, tmp_path, url=f"{there}/v1"), {})
    list(backend.generate([ask("oil")]))
    backend.close()
    assert {call["key"] for call in completions(calls)} == {"Bearer open sesame"}


def test_a_url_at_which_nobody_answers_says_so(model: str, tmp_path: Path) -> None:
    backend = VllmBackend(configured(model, tmp_path, url="http://127.0.0.1:9"), {})
    with pytest.raises(BackendError, match=r"127\.0\.0\.1:9"):
        list(backend.generate([ask("oil")]))


def run_config(model: str, folder: Path) -> Config:
    """A whole run on topics, with the stand-in as its engine."""
    return topics_config(
        folder,
        model={"name": model, "dtype": "float32", "device": "cpu", "max_length": 2000},
        backend={"kind": "vllm", "vllm": {"command": list(STANDIN)}},
        training={"kind": "adapters:AdapterTrainer"},
        retrieval={"enabled": False},
        collaborate={"collaborators": [{"weights": "warm"}, {"weights": "base"}], "max_tokens": 4},
    )


@pytest.fixture
def roomy(model: str, tmp_path: Path) -> str:
    """The model with room for longer prompts: its config says so, and nobody loads its weights."""
    import shutil

    folder = tmp_path / "roomy"
    shutil.copytree(model, folder)
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**described, "max_position_embeddings": 4000}))
    return str(folder)


def test_a_run_starts_the_server_anew_when_there_are_new_weights(roomy: str, tmp_path: Path) -> None:
    result = run(run_config(roomy, tmp_path))
    assert result.metrics is not None
    assert set(result.metrics["models"]) == {"base", "warm", "evolved"}
    starts = [line for line in (tmp_path / "run/logs/vllm.log").read_text().splitlines() if line.startswith("$ ")]
    assert len(starts) == 2
    assert f"warm={tmp_path}/run/warmup/adapter" in starts[0]
    assert "evolved=" not in starts[0]
    assert f"evolved={tmp_path}/run/evolve/adapter" in starts[1]


def test_a_killed_run_leaves_no_server_and_goes_on_where_it_was(roomy: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(dump(run_config(roomy, tmp_path)), encoding="utf-8")
    tests = Path(__file__).parents[1]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tests), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "STANDIN_CALLS": str(tmp_path / "calls.jsonl"),
        "STANDIN_ENGINE": str(tmp_path / "engine"),
    }
    command = [sys.executable, "-c", "import sys, semievol; semievol.run(semievol.load(sys.argv[1]))", str(path)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while not (tmp_path / "calls.jsonl").exists() or len(completions(tmp_path / "calls.jsonl")) < 40:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    engine = int((tmp_path / "engine").read_text())
    assert soon(lambda: not exists(engine))
    assert run(run_config(roomy, tmp_path)).metrics is not None


def test_the_server_is_told_where_an_answer_is_over_and_what_follows_is_cut_off(
    backend: VllmBackend, tmp_path: Path
) -> None:
    plain = answers(backend, queue())
    long = max(plain.values(), key=lambda response: len(response.text))
    stop = long.text[3:5]
    (request,) = (each for each in queue() if each.id == long.id)
    stopped = dataclasses.replace(request, sampling=dataclasses.replace(request.sampling, stop=(stop,)))
    (told,) = backend.generate([stopped])
    assert (told.text, told.finish) == (long.text[: long.text.index(stop)].strip(), "stop")
    assert len(told.logprobs or ()) == told.completion_tokens < long.completion_tokens
