"""A service's backend spends what it may and no more."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai")

from semievol.backends import open_backend
from semievol.config import build
from semievol.costs.budget import Budget, costs
from semievol.costs.prices import Price
from semievol.records import Message, Request, Response, Sampling
from semievol.run_folder.folder import RunFolder
from service import Service, first

CENT = Price(1e4, 1e4, 1e4, 1e4, 1e4)
"""A cent a token."""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with Service(delay=0.002) as running:
        yield running


def requests(count: int) -> list[Request]:
    chat: tuple[Message, ...] = ({"role": "user", "content": "one two three four"},)
    return [Request(f"r{i}", chat, "base", Sampling(max_tokens=10, seed=i)) for i in range(count)]


def ask(
    service: Service, folder: Path, limit: float | None, finished: set[str] | None = None, **options: Any
) -> tuple[list[Response], Budget]:
    connection = {"base_url": service.url, "retry_wait": 0.01, **options}
    config = build(
        {"output": str(folder), "model": {"name": "base"}, "backend": {"kind": "openai", "service": connection}}
    )
    budget = Budget(RunFolder(folder).costs_path, CENT, limit)
    backend = open_backend(config, {}, budget)
    try:
        return list(backend.generate(requests(60), finished or set())), budget
    finally:
        backend.close()


@pytest.mark.parametrize("options", [{"max_concurrency": 1}, {"max_concurrency": 16}, {"mode": "batch"}])
def test_what_is_spent_stays_below_the_limit_and_is_what_the_service_reports(
    options: dict[str, Any], service: Service, tmp_path: Path
) -> None:
    answered, budget = ask(service, tmp_path, limit=1.5, **options)
    used = sum(each.prompt_tokens + each.completion_tokens for each in answered)
    assert 0 < len(answered) < 60
    assert budget.refused
    assert budget.spent == pytest.approx(used / 100)
    assert 1.2 < budget.spent <= 1.5
    rest, again = ask(service, tmp_path, None, {each.id for each in answered}, **options)
    assert len(answered) + len(rest) == 60
    assert again.spent == pytest.approx(budget.spent + sum(r.prompt_tokens + r.completion_tokens for r in rest) / 100)
    assert costs(RunFolder(tmp_path)).requests == 60
    assert max(service.log.answered.values()) == 1


def test_a_request_that_fails_gives_back_what_was_set_aside(service: Service, tmp_path: Path) -> None:
    service.faults = first("filtered", "", "filtered", "", "filtered")
    answered, budget = ask(service, tmp_path, limit=100, max_concurrency=2)
    assert sum(each.finish == "error" for each in answered) == 3
    assert budget.left() == pytest.approx(100 - budget.spent)


def test_a_batch_of_an_earlier_process_is_set_aside_before_more_is_sent(service: Service, tmp_path: Path) -> None:
    service.batches.waiting = True
    config = build(
        {
            "output": str(tmp_path),
            "model": {"name": "base"},
            "backend": {"kind": "openai", "service": {"base_url": service.url, "retry_wait": 0.01, "mode": "batch"}},
        }
    )
    looks = iter([False, True])
    backend = open_backend(config, {}, Budget(price=CENT, limit=100))
    assert list(backend.generate(requests(5), stop=lambda: next(looks, True))) == []
    service.batches.waiting = False
    answered, budget = ask(service, tmp_path, limit=0.01, mode="batch")
    assert sorted(each.id for each in answered) == ["r0", "r1", "r2", "r3", "r4"]
    assert budget.refused
