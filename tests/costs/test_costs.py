"""What may be spent, what is, and what is known of it after a kill."""

import threading
from pathlib import Path

import pytest

from semievol.costs.budget import Budget, Costs, costs, in_words, sum_up
from semievol.costs.prices import Price
from semievol.errors import BudgetError
from semievol.run_folder.folder import RunFolder

DOLLAR = Price(1e6, 1e6, 2e6, 2e6, 1e6)
"""A dollar a token; two for tuned models."""


def test_the_most_that_requests_in_flight_can_cost_is_set_aside() -> None:
    budget = Budget(price=DOLLAR, limit=10)
    assert budget.admit("a", "base", 3, 2)
    assert budget.left() == 5
    assert not budget.admit("b", "warm", 1, 2)  # six dollars, for a tuned model
    assert not budget.refused  # the first may come back with less
    budget.settle("a", "base", 3, 1)
    assert budget.left() == 6
    assert budget.admit("b", "warm", 1, 2)
    budget.release("b")
    assert not budget.admit("c", "base", 6, 1)
    assert budget.refused
    with pytest.raises(BudgetError, match=r"\$4\.0000 of the \$10\.00 of costs\.max_cost are spent.*higher --max-cost"):
        budget.check()


def test_a_request_that_is_admitted_twice_is_set_aside_once() -> None:
    budget = Budget(price=DOLLAR, limit=10)
    assert budget.admit("a", "base", 3, 3)
    assert budget.admit("a", "base", 3, 3)
    assert budget.left() == 4


def test_without_a_limit_everything_fits_and_is_counted(tmp_path: Path) -> None:
    budget = Budget(tmp_path / "costs.jsonl", DOLLAR)
    assert budget.admit("a", "base", 10**9, 10**9)
    budget.settle("a", "base", 5, 1)
    assert budget.spent == 6
    budget.check()


def test_charges_outlive_the_process_and_the_file_stays_small(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    first = Budget(folder.costs_path, DOLLAR, 100)
    for number in range(20):
        first.settle(str(number), "warm" if number % 2 else "base", 1, 1)
    first.settle_training("warmup", "job-1", 30)
    paid = costs(folder)
    assert paid == Costs(90, 20, 20, 20, 1, 30)
    second = Budget(folder.costs_path, DOLLAR, 100)
    assert second.spent == 90
    assert len(folder.costs_path.read_text().splitlines()) == 3
    assert costs(folder) == paid
    second.settle_training("warmup", "job-1", 30)
    assert costs(folder) == paid


def test_a_torn_last_line_is_no_charge_and_spoils_none(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    Budget(folder.costs_path, DOLLAR).settle("a", "base", 1, 1)
    with folder.costs_path.open("a") as handle:
        handle.write('{"what": "answers", "wei')
    assert costs(folder).dollars == 2
    Budget(folder.costs_path, DOLLAR).settle("b", "base", 1, 1)
    assert costs(folder).dollars == 4


def test_tokens_without_a_price_are_counted_and_not_taken_for_free(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    budget = Budget(folder.costs_path, Price(1.0, 2.0))
    budget.settle("a", "base", 1_000_000, 0)
    budget.settle("b", "warm", 10, 5)
    assert costs(folder) == Costs(1.0, 2, 1_000_010, 5, without_price=15)
    assert "No price is known for 15 of the tokens" in in_words(costs(folder))


def test_threads_do_not_spend_a_dollar_twice() -> None:
    budget = Budget(price=DOLLAR, limit=50)
    admitted: list[str] = []

    def ask(name: int) -> None:
        admitted.extend(f"{name}/{i}" for i in range(100) if budget.admit(f"{name}/{i}", "base", 1, 0))

    threads = [threading.Thread(target=ask, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(admitted) == 50


def test_nothing_paid_is_said_in_no_words(tmp_path: Path) -> None:
    assert in_words(costs(RunFolder(tmp_path / "nowhere"))) == ""
    assert in_words(sum_up([{"what": "training", "id": "x", "tokens": 7, "dollars": 2.5}])) == (
        "$2.50 paid to services, all sessions together: 1 training (7 tokens)."
    )


def test_what_other_runs_have_paid_under_the_same_limit_counts(tmp_path: Path) -> None:
    budget = Budget(tmp_path / "costs.jsonl", DOLLAR, limit=10, elsewhere=6)
    assert budget.left() == 4
    assert not budget.admit("a", "base", 4, 1)
    assert budget.spent == 0
    with pytest.raises(BudgetError, match=r"\$6\.0000 of the \$10\.00"):
        budget.check()
