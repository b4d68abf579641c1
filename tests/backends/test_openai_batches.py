"""Batches of a service: uploaded once, collected whatever became of them, found again by another process."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from semievol.backends import open_backend
from semievol.backends.service import jobs
from semievol.config import Config, build
from semievol.errors import BackendError
from semievol.records import Message, Request, Response, Sampling
from service import Service, first


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as made:
        yield made


@pytest.fixture
def config(service: Service, tmp_path: Path) -> Config:
    return made(service, tmp_path)


def made(service: Service, folder: Path, **options: Any) -> Config:
    quick = {"base_url": service.url, "timeout": 5, "retry_wait": 0.001, "mode": "batch", **options}
    backend = {"kind": "openai", "service": quick}
    return build({"output": str(folder), "model": {"name": "base"}, "backend": backend})


def requests(count: int, weights: str = "base") -> list[Request]:
    message = [(Message(role="user", content=f"rain snow {i}"),) for i in range(count)]
    return [Request(f"rów {i}/{weights}", message[i], weights, Sampling(seed=i)) for i in range(count)]


def answers(config: Config, asked: list[Request], weights: dict[str, str] | None = None) -> dict[str, Response]:
    backend = open_backend(config, weights or {})
    responses = list(backend.generate(asked))
    backend.close()
    assert len(responses) == len({response.id for response in responses})
    return {response.id: response for response in responses}


def test_all_requests_go_in_one_file_and_all_answers_come_back(service: Service, config: Config) -> None:
    asked = requests(30)
    found = answers(config, asked)
    assert set(found) == {request.id for request in asked}
    assert all(r.finish == "stop" and r.mean_nll is not None for r in found.values())
    assert (service.files.uploads, len(service.batches.made)) == (1, 1)
    assert service.log.asked.total() == 0
    assert not list((Path(config.output) / "jobs").iterdir())


def test_answers_are_those_of_requests_one_by_one(service: Service, config: Config, tmp_path: Path) -> None:
    realtime = made(service, tmp_path, mode="realtime")
    batch, single = answers(config, requests(10)), answers(realtime, requests(10))
    assert batch == single


@pytest.mark.parametrize("outcome", ["partial", "expired", "cancelled", "failed"])
def test_only_what_has_no_answer_is_sent_again(outcome: str, service: Service, config: Config) -> None:
    service.batches.outcomes.extend([outcome, outcome])
    found = answers(config, requests(30))
    assert all(response.finish == "stop" for response in found.values())
    assert set(service.batches.custom_ids.values()) == {1}
    assert len(service.batches.made) > 2
    assert not list((Path(config.output) / "jobs").iterdir())


def test_a_line_that_keeps_failing_is_recorded_with_its_reason(service: Service, tmp_path: Path) -> None:
    service.chat.context = 30
    long = Request("long", (Message(role="user", content="word " * 50),), "base")
    found = answers(made(service, tmp_path), [*requests(5), long])
    assert found["long"].permanent
    assert "maximum context length" in (found["long"].error or "")
    assert len(service.batches.made) == 1
    service.batches.outcomes.extend(["partial"] * 3)
    found = answers(made(service, tmp_path, max_retries=2), requests(1))
    assert [(r.finish, r.permanent) for r in found.values()] == [("error", False)]


def test_files_keep_to_the_limits_of_the_service_and_to_one_model(
    service: Service, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MOST_LINES", 10)
    service.models.add("tuned")
    found = answers(config, [*requests(25), *requests(5, "warm")], {"warm": "tuned"})
    assert len(found) == 30
    files = [service.files.stored[batch.input_file_id].content.splitlines() for batch in service.batches.made.values()]
    assert [len(lines) for lines in files] == [10, 10, 5, 5]
    assert all(len({json.loads(line)["body"]["model"] for line in lines}) == 1 for lines in files)


def test_files_keep_to_the_bytes_of_the_service(
    service: Service, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MOST_BYTES", 1000)
    assert len(answers(config, requests(20))) == 20
    sizes = [len(service.files.stored[batch.input_file_id].content) for batch in service.batches.made.values()]
    assert len(sizes) > 2
    assert max(sizes) <= 1000


def test_a_batch_that_is_stopped_is_found_by_the_next_process(service: Service, config: Config) -> None:
    service.batches.waiting = True
    looks = iter([False] * 5)
    backend = open_backend(config, {})
    assert list(backend.generate(requests(20), stop=lambda: next(looks, True))) == []
    backend.close()
    assert len(list((Path(config.output) / "jobs").iterdir())) == 1
    service.batches.waiting = False
    assert len(answers(config, requests(20))) == 20
    assert (service.files.uploads, len(service.batches.made)) == (1, 1)


def test_answers_of_a_found_batch_that_are_there_already_are_not_given_twice(service: Service, config: Config) -> None:
    backend = open_backend(config, {})
    taken = []
    for response in backend.generate(requests(20)):
        taken.append(response.id)
        if len(taken) == 7:
            break
    backend.close()
    backend = open_backend(config, {})
    rest = [response.id for response in backend.generate(requests(20), finished=set(taken))]
    backend.close()
    assert sorted(taken + rest) == sorted(request.id for request in requests(20))
    assert (service.files.uploads, len(service.batches.made)) == (1, 1)


def test_the_same_id_with_another_question_is_another_request(service: Service, config: Config) -> None:
    service.batches.waiting = True
    looks = iter([False] * 5)
    list(open_backend(config, {}).generate(requests(3), stop=lambda: next(looks, True)))
    service.batches.waiting = False
    other = [Request(r.id, (Message(role="user", content="storm"),), "base", r.sampling) for r in requests(3)]
    found = answers(config, other)
    assert {response.text for response in found.values()} == {"storm"}


@pytest.mark.parametrize("path", ["/files", "/batches"])
@pytest.mark.parametrize("fault", ["500", "503", "429", "drop"])
def test_calls_that_fail_in_passing_are_made_again(path: str, fault: str, service: Service, config: Config) -> None:
    service.faults = first(fault, fault, path=path)
    assert len(answers(config, requests(5))) == 5
    assert len(service.batches.made) == 1


def test_a_batch_whose_creation_was_not_confirmed_is_not_created_twice(service: Service, config: Config) -> None:
    create, answered = service.batches._create, []

    def loses_the_answer(body: dict[str, Any]) -> Any:
        answered.append(create(body))
        if len(answered) == 1:
            raise ConnectionError
        return answered[-1]

    service.batches._create = loses_the_answer  # type: ignore[method-assign]
    assert len(answers(config, requests(5))) == 5
    assert len(service.batches.made) == 1


def test_a_batch_that_the_service_refuses_for_good_ends_the_run(service: Service, tmp_path: Path) -> None:
    service.batches.outcomes.extend(["failed"] * 10)
    with pytest.raises(BackendError, match="the batch was refused: Enqueued token limit reached"):
        answers(made(service, tmp_path, max_retries=2), requests(5))
    assert not list((tmp_path / "jobs").iterdir())


def test_a_batch_of_another_account_is_not_paid_for_again(service: Service, config: Config) -> None:
    service.batches.waiting = True
    looks = iter([False] * 5)
    list(open_backend(config, {}).generate(requests(3), stop=lambda: next(looks, True)))
    service.batches.made.clear()
    with pytest.raises(
        BackendError, match=r"does not know the batch batch_1, in which 3 requests wait.*remove .*pay for them again"
    ):
        answers(config, requests(3))


def test_an_option_that_every_line_is_refused_for_ends_the_run(service: Service, tmp_path: Path) -> None:
    service.chat.unsupported = {"nonsense": "Unrecognized request argument supplied: nonsense"}
    with pytest.raises(BackendError, match="Unrecognized request argument"):
        answers(made(service, tmp_path, extra_body={"nonsense": 1}), requests(5))


def test_what_the_service_refuses_is_put_otherwise_in_the_next_batch(service: Service, config: Config) -> None:
    service.chat.unsupported = {"max_tokens": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'."}
    assert all(r.finish == "stop" for r in answers(config, requests(5)).values())
    assert len(service.batches.made) == 2
