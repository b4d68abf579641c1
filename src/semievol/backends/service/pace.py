"""How fast a service is asked: requests in flight that adapt to it, and limits by the minute."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

LONGEST_NAP = 0.2
"""Seconds after which a wait looks whether it has been halted."""


async def nap(seconds: float, halted: Callable[[], bool]) -> None:
    """Waits for so many seconds, or until it is halted."""
    end = asyncio.get_running_loop().time() + seconds
    while (left := end - asyncio.get_running_loop().time()) > 0 and not halted():
        await asyncio.sleep(min(left, LONGEST_NAP))


class Allowance:
    """So many units a minute, spread evenly: a second's worth may be taken at once."""

    def __init__(self, per_minute: int | None) -> None:
        self._rate = None if per_minute is None else per_minute / 60
        self._most = max(1.0, self._rate or 1.0)
        self._level, self._seen = self._most, 0.0

    async def take(self, units: float, halted: Callable[[], bool]) -> None:
        """Waits until `units` are there, unless it is halted; more than a second's worth are owed afterwards."""
        while self._rate is not None and not halted():
            now = asyncio.get_running_loop().time()
            self._level = min(self._most, self._level + self._rate * (now - (self._seen or now)))
            self._seen = now
            missing = min(units, self._most) - self._level
            if missing <= 0:
                self._level -= units
                return
            await nap(missing / self._rate, halted)

    def correct(self, units: float) -> None:
        """Takes `units` more after the fact, or gives back if they are negative."""
        self._level -= units


class Pace:
    """Additive increase, multiplicative decrease of the requests in flight, as TCP does it.

    The first request goes alone: what is wrong with it is wrong with all. Until the first sign of overload every
    answer adds a place, afterwards a whole round of answers does.
    """

    def __init__(self, most: int, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        self._most = most
        self.places = 1.0
        """How many requests may be in flight."""
        self._in_flight = 0
        self._growing_fast = True
        self._cut_at = self._paused_until = 0.0
        self._requests, self._tokens = Allowance(requests_per_minute), Allowance(tokens_per_minute)
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def place(self, tokens: int, halted: Callable[[], bool]) -> AsyncIterator[bool]:
        """Waits for a place for a request of about so many tokens, and holds it; whether to use it, or halt."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._in_flight < int(self.places))
            self._in_flight += 1
        try:
            await self._requests.take(1, halted)
            await self._tokens.take(tokens, halted)
            while (wait := self._paused_until - asyncio.get_running_loop().time()) > 0 and not halted():
                await nap(wait, halted)
            yield not halted()
        finally:
            async with self._changed:
                self._in_flight -= 1
                self._changed.notify(max(0, int(self.places) - self._in_flight))  # more would wake up in vain

    def answered(self, tokens: int, estimated: int) -> None:
        """Takes in that a request was answered and how many tokens it had."""
        self._tokens.correct(tokens - estimated)
        self.places = min(self._most, self.places + (1 if self._growing_fast else 1 / self.places))

    def overloaded(self, sent: float, wait: float | None) -> None:
        """Takes in that the service is overloaded: half as many places, and none before the time it asks for.

        Args:
            sent: when the refused request was sent, by the loop's clock; those of one burst count once.
        """
        now = asyncio.get_running_loop().time()
        if wait is not None:
            self._paused_until = max(self._paused_until, now + wait)
        if sent >= self._cut_at:
            self._growing_fast = False
            self._cut_at = now
            self.places = max(1.0, self.places / 2)
