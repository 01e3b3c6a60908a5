"""Blocks that a worker will hold because we sent a prompt there, until it says so itself or time is up.

Where an engine tells of its blocks, a prediction bridges the seconds until it does, so that a burst of equal
prompts goes one way. Where it does not, predictions are all there is: they live long, up to the cache's size.

Prompts are kept whole and found by a few marks: the names of their first, second, fourth, eighth … block. Names
are chained, so two prompts with an equal mark are equal up to there, and where they part is found by halving.
A prompt of hundreds of blocks comes and goes for the price of its marks.
"""

import heapq
from array import array
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from itertools import islice

from tandem.kv.blocks import Names

_MOST_LOOKED_AT = 16
"""Prompts with one mark that are compared, the newest first: others would hardly know more."""


@dataclass(slots=True, eq=False)
class Expected:
    """A prompt's blocks from `begin` on."""

    names: Names
    begin: int
    until: float
    marks: list[int]
    own: int = 0
    """Its blocks before this one are counted with a younger prompt, which brought them again."""


@dataclass(slots=True)
class Predictions:
    """One worker's predicted blocks."""

    capacity_blocks: int | None = None
    """Most blocks that it could hold; the oldest predictions go first."""
    _by_mark: dict[int, deque[Expected]] = field(default_factory=dict)
    """Prompts by each of their marks, the newest first."""
    _ends: list[tuple[float, int, Expected]] = field(default_factory=list)
    """A heap, the soonest to be over first. One that was shortened stands in it twice."""
    _oldest: deque[Expected] = field(default_factory=deque)
    """In the order in which they were sent; kept where there is a capacity."""
    _blocks: int = 0
    """Different ones among them, where there is a capacity."""
    _added: int = 0

    def add(self, names: Names, marks: list[int], until: float, *, begin: int = 0) -> Expected | None:
        """Expect a prompt's blocks until then. None if there are none.

        Args:
            marks: see `marks_of`.
            begin: blocks before it need not be expected: the worker has told of them.
        """
        if begin >= len(names):
            return None
        if self.capacity_blocks is not None:
            self._take_over(names, marks)
        kept = names if self.capacity_blocks is None else array("Q", names)  # for minutes: as small as can be
        expected = Expected(kept, begin, until, marks)
        for mark in marks:
            prompts = self._by_mark.get(mark)
            if prompts is None:
                prompts = self._by_mark[mark] = deque()
            prompts.appendleft(expected)
        self._end(expected)
        if self.capacity_blocks is not None:
            self._blocks += len(names)
            self._oldest.append(expected)
            self._make_room(self.capacity_blocks)
        return expected

    def shorten(self, expected: Expected, until: float) -> None:
        """Expect a prompt's blocks for no longer than that: the worker is about to say whether it has them."""
        if until < expected.until:
            expected.until = until
            self._end(expected)

    def run(self, names: Names, marks: list[int], begin: int, now: float) -> int:
        """Where the predicted blocks that follow `begin` end."""
        if not self._ends:
            return begin
        if self._ends[0][0] <= now:
            self._expire(now)
        if begin >= len(names) or marks[0] not in self._by_mark:
            return begin
        reached, beyond = begin, len(names)
        for level in range(len(marks) - 1, -1, -1):  # prompts that share more stand at the higher marks
            prompts = self._by_mark.get(marks[level])
            if prompts is not None:
                for expected in islice(prompts, _MOST_LOOKED_AT):
                    theirs = expected.names
                    # Most share what the worker has told of, a system prompt, and nothing beyond.
                    if reached < len(theirs) and theirs[reached] == names[reached] and expected.begin <= begin:
                        reached = _shared(theirs, names, max(1 << level, reached), beyond)
                        if reached == beyond:
                            return reached
            beyond = (1 << level) - 1
            if reached >= beyond:  # who does not stand here shares less
                break
        return reached

    def _expire(self, now: float) -> None:
        """Forget what is over."""
        while self._ends and self._ends[0][0] <= now:
            until, _, expected = heapq.heappop(self._ends)
            if until == expected.until and expected.marks:
                self._forget(expected)
        while self._oldest and not self._oldest[0].marks:
            self._oldest.popleft()

    def _end(self, expected: Expected) -> None:
        self._added += 1
        heapq.heappush(self._ends, (expected.until, self._added, expected))

    def _take_over(self, names: Names, marks: list[int]) -> None:
        """Blocks that older prompts share with this one are counted with it from now on: they were used again."""
        beyond = len(names)
        for level in range(len(marks) - 1, -1, -1):
            for older in islice(self._by_mark.get(marks[level], ()), _MOST_LOOKED_AT):
                shared = _shared(older.names, names, 1 << level, beyond)
                if shared > older.own:
                    self._blocks -= shared - older.own
                    older.own = shared
            beyond = (1 << level) - 1

    def _make_room(self, capacity: int) -> None:
        """The oldest go first, and of each its last blocks: the head of a prompt is what others share."""
        while self._blocks > capacity and self._oldest:
            oldest, over = self._oldest[0], self._blocks - capacity
            if oldest.marks and over < len(oldest.names) - oldest.own:
                oldest.names = oldest.names[:-over]
                self._blocks -= over
                return
            self._oldest.popleft()
            if oldest.marks:
                self._forget(oldest)

    def _forget(self, expected: Expected) -> None:
        for mark in expected.marks:
            prompts = self._by_mark[mark]
            if prompts[-1] is expected:
                prompts.pop()
            else:
                prompts.remove(expected)
            if not prompts:
                del self._by_mark[mark]
        expected.marks = []
        if self.capacity_blocks is not None:
            self._blocks -= len(expected.names) - expected.own
        expected.names = ()  # it stands among `_ends` until its time is up


def marks_of(names: Names) -> list[int]:
    """Names of the first, second, fourth, eighth … block: enough to tell how many share a prefix, at little cost."""
    return [names[(1 << i) - 1] for i in range(len(names).bit_length())]


def _shared(one: Names, other: Names, least: int, beyond: int) -> int:
    """Leading blocks that two prompts share: at least `least`, where both are so long, and at most `beyond`."""
    end = min(len(one), len(other), beyond)
    if end <= least or one[end - 1] == other[end - 1]:
        return end
    return bisect_left(range(end), True, least, key=lambda i: one[i] != other[i])
