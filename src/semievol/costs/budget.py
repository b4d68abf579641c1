"""What a run has paid to services, and what it may still pay.

Every charge is a line of `costs.jsonl` in the run folder, written before the answer is used: what was spent is known
after a kill, too. What was in flight at that moment is not.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from semievol.config import Config
from semievol.config.places import Place
from semievol.costs.ledger import Ledger, read_ledger
from semievol.costs.prices import Price, dollars, price_of
from semievol.errors import BudgetError, ConfigError
from semievol.run_folder.folder import RunFolder


class Paid:
    """A backend or trainer that has to be paid: it is made with the run's budget, as `budget`."""


@dataclass(frozen=True)
class Costs:
    """What all sessions of a run have used and paid."""

    dollars: float = 0.0
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    trainings: int = 0
    training_tokens: int = 0
    without_price: int = 0
    """Tokens whose price is not known; they are not in `dollars`."""


class Budget:
    """Counts what is paid and refuses what could pass the limit; threads may share it.

    An engine asks `admit` before it sends a request and says with `settle` what was used, or with `release` that
    nothing was. Until then the most that the request can cost is set aside. If a request does not fit beside others
    that are in flight, the engine asks again when those are settled; if none is, `refused` is set and the engine
    sends nothing any more.
    """

    def __init__(
        self, path: Place | None = None, price: Price | None = None, limit: float | None = None, elsewhere: float = 0.0
    ) -> None:
        """Goes on from what `path` tells of earlier sessions.

        Args:
            path: the ledger, made when there is something to write; none is kept without.
            limit: dollars for all sessions together.
            elsewhere: dollars that other runs under the same limit have paid.
        """
        self._ledger = None if path is None else Ledger(path)
        self._price, self._limit, self._elsewhere = price, limit, elsewhere
        self._lock = threading.Lock()
        self._set_aside: dict[str, float] = {}
        earlier = [] if path is None else read_ledger(path)
        self._known = {entry["id"] for entry in earlier if "id" in entry}
        self._spent = sum_up(earlier).dollars
        self._all_set_aside = 0.0
        self.refused = False
        """Whether something did not fit with nothing in flight."""

    @property
    def spent(self) -> float:
        """Dollars paid so far, by this and earlier sessions."""
        return self._spent

    def admit(self, id_: str, weights: str, prompt_tokens: int, max_tokens: int, sent: bool = False) -> bool:
        """Whether a request may be sent: the most it can cost fits beside what is spent and in flight.

        Args:
            id_: of the request; `settle` takes it back.
            weights: the name of the weights that answer.
            prompt_tokens: at most; an estimate if the service's tokenizer is not known.
            max_tokens: the longest answer.
            sent: it has been sent by an earlier process and is paid in any case.
        """
        return self._reserve(id_, self._answer_cost(weights, prompt_tokens, max_tokens), refusable=not sent)

    def settle(self, id_: str, weights: str, prompt_tokens: int, completion_tokens: int) -> None:
        """Charges what a request has used."""
        cost = self._answer_cost(weights, prompt_tokens, completion_tokens)
        entry = {"what": "answers", "weights": weights, "requests": 1}
        self._charge(id_, cost, {**entry, "input": prompt_tokens, "output": completion_tokens})

    def release(self, id_: str) -> None:
        """Takes back what is set aside for a request or training, if it still is."""
        with self._lock:
            self._take_back(id_)

    def admit_training(self, name: str, tokens: int, started: bool = False) -> None:
        """Sets aside the price of a training.

        Args:
            started: it has been admitted before and is paid in any case.

        Raises:
            BudgetError: it does not fit.
        """
        cost = dollars(tokens, self._price.training if self._price else None)
        if not self._reserve(name, cost, refusable=not started):
            raise BudgetError(
                f"the training would cost about ${cost:.2f} ({tokens:,} tokens, estimated) and ${self.left():.2f} of "
                f"the ${self._limit:.2f} of costs.max_cost are left; the same command with a higher --max-cost goes on"
            )

    def settle_training(self, name: str, job: str, tokens: int) -> None:
        """Charges a training, once for each `job`, whichever session sees it end; nothing for 0 tokens."""
        if job in self._known or not tokens:
            self.release(name)
            return
        self._known.add(job)
        cost = dollars(tokens, self._price.training if self._price else None)
        self._charge(name, cost, {"what": "training", "id": job, "tokens": tokens})

    def left(self) -> float:
        """Dollars that are neither spent nor set aside; infinite without a limit."""
        if self._limit is None:
            return float("inf")
        return self._limit - self._elsewhere - self._spent - self._all_set_aside

    def check(self) -> None:
        """Raises BudgetError if something did not fit.

        Raises:
            BudgetError: a request did not fit.
        """
        if self.refused and self._limit is not None:
            spent = self._elsewhere + self._spent
            raise BudgetError(
                f"${spent:.4f} of the ${self._limit:.2f} of costs.max_cost are spent, and the next "
                "request could cost more than the rest; the same command with a higher --max-cost goes on from here"
            )

    def close(self) -> None:
        """Brings all charges to the run folder."""
        if self._ledger is not None:
            self._ledger.upload()

    def _answer_cost(self, weights: str, prompt_tokens: int, completion_tokens: int) -> float | None:
        if self._price is None:
            return None
        per_input, per_output = self._price.answering(weights)
        read, output = dollars(prompt_tokens, per_input), dollars(completion_tokens, per_output)
        return None if read is None or output is None else read + output

    def _reserve(self, id_: str, cost: float | None, refusable: bool = True) -> bool:
        with self._lock:
            if id_ in self._set_aside:
                return True
            if refusable and cost is not None and cost > self.left():
                self.refused = not self._set_aside
                return False
            self._set_aside[id_] = cost or 0.0
            self._all_set_aside += cost or 0.0
            return True

    def _take_back(self, id_: str) -> None:
        self._all_set_aside -= self._set_aside.pop(id_, 0.0)
        if not self._set_aside:
            self._all_set_aside = 0.0  # without the rounding of many sums

    def _charge(self, id_: str, cost: float | None, entry: Mapping[str, Any]) -> None:
        with self._lock:
            self._take_back(id_)
            self._spent += cost or 0.0
            if self._ledger is not None:
                self._ledger.add({**entry, "dollars": cost})


def paid_from(kind: Any, budget: Budget | None) -> dict[str, Budget]:
    """What the constructor of a backend or trainer is given beside its own: the budget, if it has to be paid."""
    return {"budget": budget or Budget()} if isinstance(kind, type) and issubclass(kind, Paid) else {}


def open_budget(config: Config, folder: RunFolder, elsewhere: float = 0.0) -> Budget:
    """The budget of a run, going on from its earlier sessions.

    Args:
        elsewhere: dollars that other runs under the same limit have paid.

    Raises:
        ConfigError: there is a limit, and no price for something that the run pays.
    """
    price, limit = price_of(config), config.costs.max_cost
    if limit is not None and (missing := without_price(config, price)):
        raise ConfigError(
            f"costs.max_cost: no price is known for {config.model.name}; "
            f"set {', '.join(f'costs.prices.{name}' for name in missing)}, in dollars per million tokens"
        )
    return Budget(folder.costs_path, price, limit, elsewhere)


def without_price(config: Config, price: Price | None) -> list[str]:
    """What the run pays and `price` does not have, by its names in `costs.prices`."""
    names = ["input", "output", "tuned_input", "tuned_output"] if config.backend.kind == "openai" else []
    names += ["training"] if config.training.kind == "hosted" else []
    return [name for name in names if price is None or getattr(price, name) is None]


def costs(folder: RunFolder) -> Costs:
    """What the run in `folder` has used and paid so far."""
    return sum_up(read_ledger(folder.costs_path))


def in_words(paid: Costs) -> str:
    """What services charged, as a sentence; empty if they did nothing."""
    if paid == Costs():
        return ""
    parts = [f"${paid.dollars:,.2f}" if paid.dollars >= 1 else f"${paid.dollars:.4f}"]
    if paid.requests:
        tokens = f"{paid.input_tokens:,} tokens of prompts, {paid.output_tokens:,} of answers"
        parts.append(f"{paid.requests:,} requests ({tokens})")
    if paid.trainings:
        parts.append(
            f"{paid.trainings} {'training' if paid.trainings == 1 else 'trainings'} ({paid.training_tokens:,} tokens)"
        )
    words = f"{parts[0]} paid to services, all sessions together: {' and '.join(parts[1:])}."
    if paid.without_price:
        words += f" No price is known for {paid.without_price:,} of the tokens; they are not in the dollars."
    return words


def sum_up(entries: Iterable[Mapping[str, Any]]) -> Costs:
    """The charges together."""
    total: Counter[str] = Counter()
    paid = 0.0
    for entry in entries:
        tokens = {name: entry.get(name, 0) for name in ("input", "output", "tokens")}
        total.update(tokens, requests=entry.get("requests", 0), trainings=entry["what"] == "training")
        paid += entry["dollars"] or 0.0
        total["without_price"] += sum(tokens.values()) if entry["dollars"] is None else 0
    return Costs(
        dollars=paid,
        requests=total["requests"],
        input_tokens=total["input"],
        output_tokens=total["output"],
        trainings=total["trainings"],
        training_tokens=total["tokens"],
        without_price=total["without_price"],
    )
