"""A clock that jumps: simulated hours pass in milliseconds, in the order in which they were slept."""

import asyncio
import heapq
import itertools
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualTime:
    """`now` and `sleep` for code that takes them from outside, and `run` to let time pass."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        self.time = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        done = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.time + seconds, next(self._order), done))
        await done

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`; whenever everything waits, time jumps to the next sleeper."""
        task = asyncio.create_task(work)
        while not task.done():
            for _ in range(25):  # more than any chain of wake-ups between two sleeps here
                await asyncio.sleep(0)
            while self._sleepers and self._sleepers[0][2].done():
                heapq.heappop(self._sleepers)
            if not task.done() and self._sleepers:
                self.time, _, sleeper = heapq.heappop(self._sleepers)
                sleeper.set_result(None)
        return task.result()
