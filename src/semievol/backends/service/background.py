"""An event loop in a thread of its own, for code that is not asynchronous."""

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class _End(Generic[T]):
    """The last thing that work hands over: how it ended."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class Background:
    """Runs coroutines for as long as it is open; the thread starts with the first of them."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns."""
        return asyncio.run_coroutine_threadsafe(work, self._started()).result()

    def iterate(self, work: Callable[[Callable[[T], None]], Awaitable[None]]) -> Iterator[T]:
        """What `work` hands to the function it is given, one by one; then its error, if it ended in one.

        An iterator that is closed early cancels the work.
        """
        handed: queue.SimpleQueue[T | _End[T]] = queue.SimpleQueue()

        async def whole() -> None:
            error: BaseException | None = None
            try:
                await work(handed.put)
            except BaseException as raised:  # the thread that iterates has to hear of everything
                error = raised
            handed.put(_End(error))

        future = asyncio.run_coroutine_threadsafe(whole(), self._started())
        try:
            while not isinstance(item := handed.get(), _End):
                yield item
            if item.error is not None:
                raise item.error
        finally:
            if not future.done():
                future.cancel()

    def close(self) -> None:
        """Ends the thread; calling it twice is harmless."""
        if self._loop is None or self._thread is None:
            return
        asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._thread = None

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="semievol-service", daemon=True)
            self._thread.start()
        return self._loop


async def _cancel_all() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
