"""Modelled time on an event loop's timers, which are right to a millisecond: uvloop rounds every delay."""

from collections.abc import Awaitable, Callable

_TICK_S = 0.001


class Pace:
    """Steps that take, one after the other, what they are modelled to take, however short each of them is.

    A step that a timer could only round ends at once, and what it should have taken is owed by the next; one that
    woke late makes the next shorter. Neither is carried beyond a tick: a process that was held up does not rush.
    """

    def __init__(self, clock: Callable[[], float], sleep: Callable[[float], Awaitable[object]]) -> None:
        self._clock = clock
        self._sleep = sleep
        self._due = 0.0
        """When the last step should have ended."""

    def begin(self) -> None:
        """The first step after a rest: nothing is owed."""
        self._due = self._clock()

    async def spend(self, seconds: float) -> None:
        """Let a step's time pass."""
        now = self._clock()
        late = min(max(now - self._due, -_TICK_S), _TICK_S)
        self._due = now - late + seconds
        wait = self._due - now
        await self._sleep(wait if wait > _TICK_S / 2 else 0)
