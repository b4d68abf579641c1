"""The backend for services, against a service on the loopback address."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from semievol.backends import open_backend
from semievol.backends.openai import OpenAIBackend
from semievol.config import Config, build
from semievol.errors import BackendError, ConfigError, MissingExtraError
from semievol.records import Message, Request, Response, Sampling
from service import Service, first, random_faults
from service.http import Call

LOST = ("429", "429-wait", "500", "503", "drop", "truncated", "cut")


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as made:
        yield made


def config(service: Service, select: dict[str, Any] | None = None, output: str = "unused", **options: Any) -> Config:
    quick = {"base_url": service.url, "timeout": 5, "retry_wait": 0.001}
    raw = {
        "output": output,
        "model": {"name": "base"},
        "backend": {"kind": "openai", "service": {**quick, **options}},
        "select": select or {},
    }
    return build(raw)


def requests(count: int, **sampling: Any) -> list[Request]:
    return [
        Request(f"row-{i}", (Message(role="user", content=f"rain snow {i}"),), "base", Sampling(seed=i, **sampling))
        for i in range(count)
    ]


def answers(service: Service, asked: list[Request], **options: Any) -> dict[str, Response]:
    """The responses by id, each of which came once."""
    backend = open_backend(config(service, **options), {})
    try:
        responses = list(backend.generate(asked))
    finally:
        backend.close()
    assert len(responses) == len({response.id for response in responses})
    return {response.id: response for response in responses}


def bodies(service: Service) -> list[dict[str, Any]]:
    return [json.loads(body) for body in service.log.asked]


def test_every_request_has_one_answer_with_its_log_probabilities(service: Service) -> None:
    found = answers(service, requests(30, temperature=1.0))
    assert set(found) == {f"row-{i}" for i in range(30)}
    assert all(r.finish == "stop" and r.logprobs is not None and len(r.logprobs) == 1 for r in found.values())
    assert service.log.asked.total() == 30


def test_a_request_says_how_it_is_to_be_sampled(service: Service) -> None:
    answers(service, requests(1, temperature=0.7, top_p=0.9, max_tokens=5), extra_body={"user": "me"})
    (body,) = bodies(service)
    wanted = {"temperature": 0.7, "top_p": 0.9, "max_tokens": 5, "seed": 0, "user": "me", "logprobs": True}
    assert wanted.items() <= body.items()


def test_finished_requests_are_not_sent(service: Service) -> None:
    backend = open_backend(config(service), {})
    found = list(backend.generate(requests(10), finished={f"row-{i}" for i in range(9)}))
    backend.close()
    assert [response.id for response in found] == ["row-9"]
    assert service.log.asked.total() == 1


@pytest.mark.parametrize("fault", [*LOST, "slow"])
def test_a_request_that_fails_in_passing_is_sent_again(fault: str, service: Service) -> None:
    service.faults = first(fault, fault)
    found = answers(service, requests(3), timeout=0.5)
    assert all(response.finish == "stop" for response in found.values())
    assert service.log.asked.total() == 5


def test_a_request_that_keeps_failing_is_recorded_with_its_reason_and_the_run_goes_on(service: Service) -> None:
    service.faults = lambda call, attempt: "500" if b"snow 3" in call.body else None
    found = answers(service, requests(10), max_retries=2)
    bad = found.pop("row-3")
    assert (bad.finish, bad.permanent) == ("error", False)
    assert bad.error == "500: The server had an error while processing your request. (3 attempts)"
    assert all(response.finish == "stop" for response in found.values())


def test_a_service_that_is_down_ends_the_run_instead_of_failing_every_request(service: Service) -> None:
    service.faults = lambda call, attempt: "503"
    with pytest.raises(BackendError, match=r"503: The engine is currently overloaded.*the same command goes on"):
        answers(service, requests(5000), max_retries=2)
    assert service.log.asked.total() < 300


def test_an_address_where_nothing_answers_is_told_in_one_line() -> None:
    with Service() as gone:
        pass
    with pytest.raises(BackendError, match=r"http://127\.0\.0\.1:\d+/v1: connection failed"):
        answers(gone, requests(50), max_retries=1)


@pytest.mark.parametrize(
    ("fault", "advice"),
    [("401", "OPENAI_API_KEY right"), ("403", "may this key use the model"), ("404", "does the service have model")],
)
def test_a_refusal_that_holds_for_every_request_ends_the_run_at_once(fault: str, advice: str, service: Service) -> None:
    service.faults = lambda call, attempt: fault
    with pytest.raises(BackendError, match=advice) as caught:
        answers(service, requests(1000))
    assert "\n" not in str(caught.value)
    assert service.log.asked.total() == 1


def test_a_model_that_the_service_does_not_have_is_named(service: Service) -> None:
    backend = open_backend(config(service), {"warm": "ft:gone"})
    asked = [Request("a", requests(1)[0].messages, "warm")]
    with pytest.raises(BackendError, match="ft:gone"):
        list(backend.generate(asked))
    backend.close()


def test_weights_are_models_of_the_service(service: Service) -> None:
    service.models.add("tuned")
    backend = open_backend(config(service), {"warm": "tuned"})
    list(backend.generate([Request("a", requests(1)[0].messages, "warm"), *requests(1)]))
    with pytest.raises(BackendError, match="no weights named 'evolved'; there are base, warm"):
        list(backend.generate([Request("b", requests(1)[0].messages, "evolved")]))
    backend.close()
    assert sorted(body["model"] for body in bodies(service)) == ["base", "tuned"]


def test_a_prompt_that_is_too_long_fails_for_good_and_alone(service: Service) -> None:
    service.chat.context = 30
    long = Request("long", (Message(role="user", content="word " * 50),), "base")
    found = answers(service, [*requests(5), long])
    assert found["long"].permanent
    assert "maximum context length is 30" in (found["long"].error or "")
    assert [r.finish for r in found.values()].count("stop") == 5


def test_a_request_that_the_service_refuses_alone_is_not_sent_again(service: Service) -> None:
    service.faults = lambda call, attempt: "400" if b"snow 3" in call.body else None
    found = answers(service, requests(6))
    assert found["row-3"].permanent
    assert service.log.asked.total() <= 7  # one probe at most


def test_an_option_that_the_service_refuses_in_every_request_ends_the_run(service: Service) -> None:
    service.chat.unsupported = {"nonsense": "Unrecognized request argument supplied: nonsense"}
    with pytest.raises(BackendError, match="Unrecognized request argument supplied: nonsense"):
        answers(service, requests(100), extra_body={"nonsense": 1})


def test_what_a_reasoning_model_refuses_is_put_otherwise(service: Service) -> None:
    service.chat.unsupported = {
        "max_tokens": "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
        "'max_completion_tokens' instead.",
        "logprobs": "You are not allowed to request logprobs from this model",
        "seed": "Unsupported parameter: 'seed'",
    }
    service.chat.temperatures = {1}
    found = answers(service, requests(40, max_tokens=7))
    assert all(r.finish == "stop" and r.logprobs is None for r in found.values())
    assert service.log.asked.total() == 40 + 5  # one for each thing that had to be learned: log-probabilities take two
    good = [json.loads(body) for body in service.log.answered]
    assert all(body["max_completion_tokens"] == 7 for body in good)
    assert not any({"max_tokens", "temperature", "logprobs", "seed"} & set(body) for body in good)


def test_log_probabilities_that_are_asked_for_by_number_are_asked_for_by_number(service: Service) -> None:
    def integers_only(call: Call, attempt: int) -> str | None:
        return "logprobs" if json.loads(call.body).get("logprobs") is True else None

    from service import faults

    faults.FAULTS["logprobs"] = faults._now(400, "logprobs: Input should be a valid integer")
    try:
        service.faults = integers_only
        found = answers(service, requests(10))
    finally:
        del faults.FAULTS["logprobs"]
    assert all(response.logprobs is not None for response in found.values())


def test_a_service_without_log_probabilities_is_refused_where_h_is_asked_for(service: Service) -> None:
    service.chat.unsupported = {"logprobs": "logprobs are not supported"}
    with pytest.raises(BackendError, match="gives no log-probabilities"):
        answers(service, requests(200), select={"criterion": "nll"})
    assert service.log.answered.total() == 0


def test_a_service_that_leaves_log_probabilities_out_is_refused_at_the_first_answer(service: Service) -> None:
    service.faults = lambda call, attempt: "no-logprobs"
    with pytest.raises(BackendError, match="the first answer came without"):
        answers(service, requests(1000), select={"criterion": "nll"})
    assert service.log.asked.total() < 100
    assert all(r.logprobs is None for r in answers(service, requests(3)).values())


@pytest.mark.parametrize(
    ("fault", "finish", "error"),
    [
        ("empty", "stop", None),
        ("refusal", "error", "the model refused: I cannot help with that."),
        ("filtered", "error", "the service's content filter withheld the answer"),
        ("no-logprobs", "stop", None),
    ],
)
def test_odd_answers_are_taken_for_what_they_are(fault: str, finish: str, error: str | None, service: Service) -> None:
    service.faults = lambda call, attempt: fault if b"snow 3" in call.body else None
    found = answers(service, requests(5))
    odd = found.pop("row-3")
    assert (odd.finish, odd.error, odd.permanent) == (finish, error, error is not None)
    assert odd.mean_nll is None
    assert all(response.finish == "stop" and response.mean_nll is not None for response in found.values())


def test_an_answer_that_was_cut_off_says_so(service: Service, tmp_path: Path) -> None:
    votes = {"rain": {"heavy weather today": 1}}
    (tmp_path / "votes.json").write_text(json.dumps(votes))
    backend = open_backend(config(service), {"warm": str(tmp_path)})
    (found,) = backend.generate([Request("a", requests(1)[0].messages, "warm", Sampling(max_tokens=2))])
    backend.close()
    assert (found.text, found.finish, len(found.logprobs or ())) == ("heavy weather", "length", 2)


def test_fewer_requests_are_sent_to_a_service_that_is_overloaded(service: Service) -> None:
    service.most_at_once, service.delay = 5, 0.005
    found = answers(service, requests(300), max_retries=100)
    assert all(response.finish == "stop" for response in found.values())
    assert service.log.asked.total() < 300 * 1.5


def test_more_requests_are_sent_to_a_service_that_answers(service: Service) -> None:
    service.delay = 0.1
    answers(service, requests(150), max_concurrency=20)
    assert service.log.most_at_once == 20


def test_a_service_that_asks_for_time_is_left_alone_for_that_long(service: Service) -> None:
    service.faults = first("429-later")
    started = time.monotonic()
    answers(service, requests(1))
    assert time.monotonic() - started >= 0.4


@pytest.mark.parametrize("fault", ["429-years", "429-date"])
def test_a_service_that_asks_for_years_is_asked_again_in_minutes_and_that_is_said(
    fault: str, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.faults = first(fault)
    started = time.monotonic()
    assert len(answers(service, requests(1), longest_wait=0.3)) == 1
    assert 0.3 <= time.monotonic() - started < 20
    assert "asks to wait for years; it is asked again in 0.3 s (backend.service.longest_wait)" in caplog.text


def test_no_more_requests_a_minute_are_sent_than_allowed(service: Service) -> None:
    started = time.monotonic()
    answers(service, requests(80), requests_per_minute=3000)  # 50 a second, and a second's worth at once
    assert time.monotonic() - started >= 0.55


def test_no_more_tokens_a_minute_are_sent_than_allowed(service: Service) -> None:
    asked = requests(40, max_tokens=20)
    started = time.monotonic()
    answers(service, asked, tokens_per_minute=60 * 100, max_concurrency=2)  # four each, of which 100 at once
    assert time.monotonic() - started >= 0.4


def test_ctrl_c_lets_what_is_in_flight_be_finished(service: Service) -> None:
    service.delay = 0.05
    backend = open_backend(config(service, max_concurrency=8), {})
    stopping = threading.Event()
    found = []
    for response in backend.generate(requests(500), stop=stopping.is_set):
        found.append(response)
        stopping.set()
    backend.close()
    assert 1 <= len(found) <= 16
    assert len(found) == service.log.answered.total()


def test_no_more_requests_are_held_than_are_in_flight(service: Service) -> None:
    taken = 0

    class Watched(list[Request]):
        def __iter__(self) -> Iterator[Request]:
            nonlocal taken
            for request in super().__iter__():
                taken += 1
                yield request

    backend = open_backend(config(service, max_concurrency=4), {})
    asked = Watched(requests(200))
    for count, _ in enumerate(backend.generate(asked), 1):
        if count == 1:
            ahead = taken
            break
    backend.close()
    assert ahead <= 200 + 20  # the look for requests to score reads all of them once


def test_an_iterator_that_is_left_early_leaves_nothing_running(service: Service) -> None:
    service.delay = 0.02
    backend = open_backend(config(service), {})
    for _ in backend.generate(requests(500)):
        break
    backend.close()
    sent = service.log.asked.total()
    time.sleep(0.1)
    assert service.log.asked.total() == sent < 500


def test_ten_thousand_requests_survive_a_third_of_faults() -> None:
    kinds = [kind for kind in LOST if kind != "429-wait"]  # which would be waiting
    with Service(faults=random_faults(0.3, kinds)) as service:
        found = answers(service, requests(10_000), max_retries=50)
        assert len(found) == 10_000
        assert all(response.finish == "stop" for response in found.values())
        assert set(service.log.answered.values()) == {1}  # none was answered twice
        assert service.log.answered.total() == 10_000
        assert service.log.asked.total() == 10_000 + service.log.faults.total()
        assert service.log.faults.total() > 3500


def test_without_a_key_a_hosted_service_is_not_even_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    made = build({"model": {"name": "gpt"}, "backend": {"kind": "openai", "service": {"api_key_env": "MY_KEY"}}})
    with pytest.raises(BackendError, match="set the environment variable MY_KEY"):
        list(open_backend(made, {}).generate(requests(1)))


def test_the_key_is_read_from_its_environment_variable(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    service.faults = lambda call, attempt: seen.append(call.headers["authorization"])
    monkeypatch.setenv("MY_KEY", "secret-1")
    answers(service, requests(1), api_key_env="MY_KEY")
    assert seen == ["Bearer secret-1"]


def test_azure_is_asked_by_deployment_and_version(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    service.faults = lambda call, attempt: seen.append((call.path, call.query, call.headers.get("api-key")))
    monkeypatch.setenv("AZURE_KEY", "secret-2")
    url = service.url.removesuffix("/v1")
    answers(service, requests(1), base_url=url, api_version="2024-10-21", api_key_env="AZURE_KEY")
    assert seen == [("/openai/deployments/base/chat/completions", {"api-version": "2024-10-21"}, "secret-2")]


def test_a_default_model_is_no_model_of_a_service() -> None:
    with pytest.raises(ConfigError, match="name the model as the service does"):
        build({"backend": {"kind": "openai"}})


def test_h_is_not_asked_of_a_service_that_is_told_to_give_no_log_probabilities(service: Service) -> None:
    with pytest.raises(ConfigError, match=r"select\.criterion is nll and backend\.service\.logprobs is false"):
        config(service, select={"criterion": "nll"}, logprobs=False)
    answers(service, requests(2), logprobs=False)
    assert not any("logprobs" in body for body in bodies(service))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    import sys

    for name in [name for name in sys.modules if name.startswith(("openai", "semievol.backends.openai"))]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith("semievol.backends.service")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'semievol\[openai\]'"):
        open_backend(config(service), {})


def test_a_text_to_score_is_not_sent(service: Service) -> None:
    backend = open_backend(config(service), {})
    with pytest.raises(BackendError, match="cannot score"):
        list(backend.generate([Request("a", requests(1)[0].messages, "base", response="rain")]))
    assert isinstance(backend, OpenAIBackend)
    assert not backend.scores


def test_a_service_is_told_where_an_answer_is_over(service: Service) -> None:
    answers(service, requests(1, stop=("\n\nText:",)))
    (body,) = bodies(service)
    assert body["stop"] == ["\n\nText:"]


def test_a_service_that_takes_no_stop_is_asked_without_and_its_answer_is_cut_off_here(service: Service) -> None:
    service.chat.unsupported = {"stop": "Unsupported parameter: 'stop' is not supported with this model."}
    found = answers(service, requests(3, stop=("a",)))
    assert all(response.finish == "stop" and "a" not in response.text for response in found.values())
    assert sum("stop" not in body for body in bodies(service)) == 3
