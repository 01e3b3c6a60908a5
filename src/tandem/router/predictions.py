"""Blocks that a worker will hold because we sent a prompt there, until it says so itself or time is up.

Where an engine tells of its blocks, a prediction bridges the seconds until it does, so that a burst of equal
prompts goes one way. Where it does not, predictions are all there is: they live long, up to the cache's size.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tandem.kv.blocks import Hashes


@dataclass(slots=True)
class Predictions:
    """One worker's predicted blocks, the soonest to be forgotten first."""

    capacity_blocks: int | None = None
    """Most blocks that it could hold; the oldest predictions go first."""
    _until: OrderedDict[int, float] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._until)

    def add(self, names: Hashes, until: float) -> Hashes:
        """Expect blocks, or expect them for longer. Returns those that had to go for want of room."""
        for name in reversed(names.tolist()):  # the head of a prompt is the last to be forgotten
            self._until[name] = max(until, self._until.pop(name, 0.0))
        over = 0 if self.capacity_blocks is None else max(0, len(self._until) - self.capacity_blocks)
        return _names(self._until.popitem(last=False)[0] for _ in range(over))

    def shorten(self, names: Hashes, until: float) -> None:
        """Expect blocks for no longer than that: the worker is about to say whether it has them."""
        for name in names.tolist():
            if self._until.get(name, 0.0) > until:
                self._until[name] = until
                self._until.move_to_end(name, last=False)

    def expired(self, now: float) -> Hashes:
        """Take out what is over. Looks at the oldest only, so one may stay a little longer behind a younger one."""

        def over() -> Iterator[int]:
            while self._until:
                name = next(iter(self._until))
                if self._until[name] > now:
                    return
                yield name
                del self._until[name]

        return _names(over())


def _names(values: Iterator[int]) -> Hashes:
    return np.fromiter(values, np.uint64)
