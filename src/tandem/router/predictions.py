"""Blocks that a worker will hold because we sent a prompt there, until it says so itself or time is up.

Where an engine tells of its blocks, a prediction bridges the seconds until it does, so that a burst of equal
prompts goes one way. Where it does not, predictions are all there is: they live long, up to the cache's size.
Blocks are kept by the prompt that was last to bring them: hundreds come and go in a few calls.
"""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from tandem.kv.blocks import Names


@dataclass(slots=True, eq=False)
class Expected:
    """A prompt's blocks."""

    names: list[int]
    until: float


@dataclass(slots=True)
class Predictions:
    """One worker's predicted blocks."""

    capacity_blocks: int | None = None
    """Most blocks that it could hold; the oldest predictions go first."""
    _by_name: dict[int, Expected] = field(default_factory=dict)
    _ends: list[tuple[float, int, Expected]] = field(default_factory=list)
    """A heap, the soonest to be over first. One that was shortened stands in it twice."""
    _oldest: deque[Expected] = field(default_factory=deque)
    """In the order in which they were sent; kept where there is a capacity."""
    _added: int = 0

    def __len__(self) -> int:
        return len(self._by_name)

    def add(self, names: Names, until: float) -> Expected:
        """Expect blocks until then."""
        expected = Expected(list(names), until)
        if not expected.names:
            return expected
        self._by_name.update(dict.fromkeys(names, expected))
        self._end(expected)
        if self.capacity_blocks is not None:
            self._oldest.append(expected)
            self._make_room(self.capacity_blocks)
        return expected

    def shorten(self, expected: Expected, until: float) -> None:
        """Expect a prompt's blocks for no longer than that: the worker is about to say whether it has them."""
        if until < expected.until:
            expected.until = until
            self._end(expected)

    def run(self, names: Sequence[int], begin: int, now: float) -> int:
        """Where the predicted blocks that follow `begin` end."""
        held = self._by_name
        if not held:
            return begin
        if self._ends[0][0] <= now:
            self._expire(now)
        if begin >= len(names) or names[begin] not in held:
            return begin
        return begin + len(list(takewhile(held.__contains__, names[begin:])))

    def _expire(self, now: float) -> None:
        """Forget what is over."""
        while self._ends and self._ends[0][0] <= now:
            until, _, expected = heapq.heappop(self._ends)
            if until == expected.until:
                self._forget(expected, len(expected.names))
        while self._oldest and not self._oldest[0].names:
            self._oldest.popleft()

    def _end(self, expected: Expected) -> None:
        self._added += 1
        heapq.heappush(self._ends, (expected.until, self._added, expected))

    def _make_room(self, capacity: int) -> None:
        while len(self._by_name) > capacity and self._oldest:
            self._forget(self._oldest[0], len(self._by_name) - capacity)
            if not self._oldest[0].names:
                self._oldest.popleft()

    def _forget(self, expected: Expected, most: int) -> None:
        """Its last blocks first: the head of a prompt is what others share."""
        held, names = self._by_name, expected.names
        while names and most:
            name = names.pop()
            if held.get(name) is expected:
                del held[name]
                most -= 1
