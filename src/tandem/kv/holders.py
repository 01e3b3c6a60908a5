"""Sets of holders, each stored once and known by a number.

Millions of blocks have few distinct sets of holders: those of one worker, and those of the workers that
share a system prompt. A block keeps a number of four bytes; the set behind it is a bit per worker and tier.
"""

from typing import Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

Tier = Literal["gpu", "host", "disk"]
TIERS: Final[tuple[Tier, ...]] = ("gpu", "host", "disk")
"""In the order of how soon a block can be used."""


Holders = tuple[int, int, int]
"""Workers that hold a block, one bit per worker, by tier."""

NOBODY: Final = 0
"""The number of the empty set."""
_EMPTY: Final[Holders] = (0, 0, 0)
_MOST_STEPS = 1 << 16
"""Steps from set to set that are remembered."""


class HolderSets:
    """Numbers for sets, counted by how many blocks use them."""

    def __init__(self) -> None:
        self._sets: list[Holders] = [_EMPTY]
        self._uses: list[int] = [0]
        self._numbers: dict[Holders, int] = {_EMPTY: NOBODY}
        self._free: list[int] = []
        self._steps: dict[tuple[int, int], int] = {}
        """What `changed` said before. Forgotten as soon as a number means something else."""

    def __getitem__(self, number: int) -> Holders:
        return self._sets[number]

    def __len__(self) -> int:
        return len(self._sets) - len(self._free)

    @property
    def blocks(self) -> int:
        """Blocks that somebody holds."""
        return sum(uses for holders, uses in zip(self._sets, self._uses, strict=True) if holders != _EMPTY)

    def is_empty(self, number: int) -> bool:
        """Whether nobody holds the blocks with this number; true also for a set whose holders have all gone."""
        return self._sets[number] == _EMPTY

    def empty(self) -> NDArray[np.bool_]:
        """The same for every number."""
        return np.array([holders == _EMPTY for holders in self._sets])

    def changed(self, number: int, code: int) -> int:
        """The number of the set that differs by one holder (see `code`). It may be the same."""
        step = (number, code)
        found = self._steps.get(step)
        if found is None:
            if len(self._steps) >= _MOST_STEPS:
                self._steps.clear()
            found = self._steps[step] = self._step(number, code >> 3, code >> 1 & 3, add=bool(code & 1))
        return found

    def moved(self, old: int, new: int, blocks: int) -> None:
        """So many blocks went from one number to another. A number without blocks is used anew."""
        uses = self._uses
        uses[new] += blocks
        uses[old] -= blocks
        if not uses[old] and old != NOBODY:
            if self._numbers.get(self._sets[old]) == old:
                del self._numbers[self._sets[old]]
            self._give_up(old)

    def without(self, worker: int, tiers: tuple[int, ...]) -> None:
        """Take a worker out of every set, in time that depends on the sets, not on the blocks."""
        keep = ~(1 << worker)
        for number, old in enumerate(self._sets):
            if not any(old[tier] & ~keep for tier in tiers):
                continue
            if self._numbers.get(old) == number:
                del self._numbers[old]
            if not self._uses[number]:
                self._give_up(number)
                continue
            new = cast(Holders, tuple(mask & keep if i in tiers else mask for i, mask in enumerate(old)))
            self._sets[number] = new
            self._numbers.setdefault(new, number)  # two numbers may now mean the same: harmless
        self._steps.clear()

    def _step(self, number: int, worker: int, tier: int, *, add: bool) -> int:
        old = self._sets[number]
        bit = 1 << worker
        mask = old[tier] | bit if add else old[tier] & ~bit
        if mask == old[tier]:
            return NOBODY if old == _EMPTY else number
        new = cast(Holders, (*old[:tier], mask, *old[tier + 1 :]))
        found = self._numbers.get(new)
        if found is not None:
            return found
        if self._free:
            found = self._free.pop()
            self._sets[found] = new
        else:
            found = len(self._sets)
            self._sets.append(new)
            self._uses.append(0)
        self._numbers[new] = found
        return found

    def _give_up(self, number: int) -> None:
        self._sets[number] = _EMPTY
        self._free.append(number)
        self._steps.clear()


def code(worker: int, tier: Tier, stored: bool) -> int:
    """A change's worker, tier and direction in one number."""
    return worker << 3 | _TIER_CODES[tier] | stored


_TIER_CODES = {tier: TIERS.index(tier) << 1 for tier in TIERS}
