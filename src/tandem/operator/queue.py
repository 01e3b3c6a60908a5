"""Keys that wait for work: one worker at a time on a key; asked for while it is worked on, it comes once more.

New ones go first: when very many come at once, all pods are started before anybody is told how far the others are.
"""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Final

from tandem.operator.cache import GroupKey

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 60.0


class WorkQueue:
    """Each key waits at most once, so the number of objects bounds it.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._ready: asyncio.PriorityQueue[tuple[bool, int, GroupKey]] = asyncio.PriorityQueue()
        self._turns = count()
        self._waiting: set[GroupKey] = set()
        self._working: set[GroupKey] = set()
        self._again: set[GroupKey] = set()
        self._failures: dict[GroupKey, int] = {}
        self._timers: dict[GroupKey, tuple[float, asyncio.TimerHandle]] = {}
        self._clock = clock

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: GroupKey, *, new: bool = False) -> None:
        """Work on this key soon; on a new one before all others."""
        if timer := self._timers.pop(key, None):
            timer[1].cancel()
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait((not new, next(self._turns), key))

    def add_after(self, key: GroupKey, delay_s: float) -> None:
        """Work on this key in a while, unless something asks for it earlier."""
        due = self._clock() + delay_s
        old = self._timers.get(key)
        if key in self._waiting or (old is not None and old[0] <= due):
            return
        if old is not None:
            old[1].cancel()
        self._timers[key] = (due, asyncio.get_running_loop().call_later(delay_s, self._due, key))

    async def take(self) -> GroupKey:
        _, _, key = await self._ready.get()
        self._waiting.discard(key)
        self._working.add(key)
        return key

    def done(self, key: GroupKey, *, failed: bool = False) -> float | None:
        """The work on a key is over. A failed one comes again after a pause that doubles; returns that pause."""
        self._working.discard(key)
        pause_s = None
        if failed:
            count = self._failures[key] = self._failures.get(key, 0) + 1
            pause_s = min(FIRST_PAUSE_S * 2 ** (count - 1), LONGEST_PAUSE_S)
            self.add_after(key, pause_s)
        else:
            self._failures.pop(key, None)
        if key in self._again:
            self._again.discard(key)
            if not failed:
                self.add(key)
        return pause_s

    def close(self) -> None:
        """Cancel all timers."""
        for _, timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _due(self, key: GroupKey) -> None:
        self._timers.pop(key, None)
        self.add(key)
