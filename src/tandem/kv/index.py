"""Who holds which block: a packed table from block names to numbers of sets of holders.

A prompt is matched by looking up its blocks and walking the runs of equal sets: who is in none of the sets
so far is out. A few changes are carried out one by one, many at once. Chosen over dictionaries and trees by
docs/decisions/0010-block-index.md.

Blocks that nobody holds any more are swept out a segment of the table at a time, never in one long pause.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tandem.kv.blocks import NAME_BYTES, Hashes, Names, as_array, from_bytes, many_from_bytes
from tandem.kv.holders import NOBODY, TIERS, Holders, HolderSets, Tier, code
from tandem.kv.table import FREE, FULL, SEGMENT, PackedTable, Places, SegmentFull, places_for

_SWEEP_EVERY = SEGMENT // 8
"""Removals per segment swept: keeps the places that nobody holds at about an eighth."""
_MANY_CHANGED = 512
"""Names from which on a change is carried out with numpy."""
_MANY_ASKED = 160
"""Blocks of a prompt from which on they are looked up with numpy."""


Overlap = tuple[int, int, int]
"""Leading blocks of a prompt that one worker holds: on its GPU, with those in its host's memory, with its disk's."""

_Level = tuple[tuple[int, int], ...]


class Matches(NamedTuple):
    """What `BlockIndex.matches` found, for all workers at once."""

    levels: tuple[_Level, _Level, _Level] = ((), (), ())
    """By tier: (leading blocks, workers that hold exactly so many, one bit each)."""

    def of(self, worker: int) -> Overlap:
        """One worker's share."""
        gpu, host, disk = self.levels
        found = _run(gpu, worker)
        if disk is gpu:  # nobody holds any of it on a slower tier alone
            return found, found, found
        return found, _run(host, worker), _run(disk, worker)


_NO_MATCH = Matches()


def _run(level: _Level, worker: int) -> int:
    for blocks, mask in level:
        if mask >> worker & 1:
            return blocks
    return 0


class BlockIndex:
    """Blocks and their holders. Workers are small numbers, given by the caller and used anew after `forget`."""

    def __init__(self, blocks: int = 0) -> None:
        self._sets = HolderSets()
        self._table = PackedTable(places_for(blocks))
        self._removals = 0
        self._sweep_next = 0

    def __len__(self) -> int:
        """Blocks that somebody holds."""
        return self._sets.blocks

    @property
    def places(self) -> int:
        """Blocks that the table could hold if it were full."""
        return self._table.places

    @property
    def table_bytes(self) -> int:
        return self._table.names.nbytes + self._table.numbers.nbytes

    def reserve(self, blocks: int) -> None:
        """Make room at once for so many blocks in all, so that it need not grow while serving."""
        if (places := places_for(blocks)) > self.places:
            self._rebuild(places)

    def store(self, worker: int, tier: Tier, raw: bytes) -> None:
        """A worker's tier has these blocks (see `tandem.kv.blocks.to_bytes`). Those that it had change nothing."""
        if len(raw) < NAME_BYTES * _MANY_CHANGED:
            self._store(from_bytes(raw), code(worker, tier, True))
        else:
            names = np.unique(many_from_bytes(raw))
            self._change(self._place(names), code(worker, tier, True))

    def remove(self, worker: int, tier: Tier, raw: bytes) -> None:
        """A worker's tier has them no more. Those that it never had change nothing."""
        if len(raw) < NAME_BYTES * _MANY_CHANGED:
            self._remove(from_bytes(raw), code(worker, tier, False))
        else:
            places = self._table.find(np.unique(many_from_bytes(raw)))
            self._change(places[places >= 0], code(worker, tier, False))
        while self._removals >= _SWEEP_EVERY:
            self._removals -= _SWEEP_EVERY
            self._sweep()

    def forget(self, worker: int, *tiers: Tier) -> None:
        """A worker holds nothing any more (in these tiers; in none, if none is named)."""
        self._sets.without(worker, tuple(TIERS.index(tier) for tier in tiers or TIERS))

    def holders(self, name: int) -> Holders:
        """Who holds one block."""
        return self._sets[self._table.number(name)]

    def matches(self, names: Names) -> Matches:
        """Leading blocks of a prompt that each worker holds, in one walk."""
        if not names:
            return _NO_MATCH
        sets, number = self._sets, self._table.number
        if sets.is_empty(number(names[0])):
            return _NO_MATCH
        if sets.is_empty(number(names[-1])):  # nobody's run goes beyond a block that nobody holds: find an early one
            names = names[: bisect_left(names, True, key=lambda name: sets.is_empty(number(name)))]
        runs = self._runs(names) if len(names) < _MANY_ASKED else self._many_runs(names)
        levels: tuple[list[tuple[int, int]], ...] = ([], [], [])
        alive = [-1, -1, -1]
        for start, found in runs:
            mask = 0
            for tier, held in enumerate(sets[found]):
                mask |= held
                still = alive[tier] & mask
                if still != alive[tier]:
                    if start:
                        levels[tier].append((start, alive[tier] & ~still))
                    alive[tier] = still
            if not alive[-1]:
                break
        for tier, mask in enumerate(alive):
            if mask:
                levels[tier].append((len(names), mask))
        gpu, host, disk = (tuple(level) for level in levels)
        return Matches((gpu, gpu, gpu) if gpu == host == disk else (gpu, host, disk))

    def held_by(self, worker: int, tier: Tier) -> Hashes:
        """Every block of a worker's tier, in no order. For checks; it reads the whole table."""
        which, bit = TIERS.index(tier), 1 << worker
        numbers = np.unique(self._table.numbers)
        mine = [number for number in numbers.tolist() if self._sets[number][which] & bit]
        return self._table.names[np.isin(self._table.numbers, mine)]

    # ── a few at a time ──────────────────────────────────────────────────────────────────────────

    def _store(self, names: Names, what: int) -> None:
        self._make_room(len(names))
        table, sets = self._table, self._sets
        name_at, number_at, modulus = table.name_at, table.number_at, table.modulus
        alone, fresh, full = sets.changed(NOBODY, what), 0, False
        for name in names:
            place = name % modulus
            there = name_at[place]
            if there and there != name:
                try:
                    place = table.seek(name)
                except SegmentFull:
                    full = True
                    break
                if place < 0:
                    place, there = ~place, 0
            if not there:
                name_at[place] = name
                number_at[place] = alone
                fresh += 1
                continue
            old = number_at[place]
            if old != alone:
                new = sets.changed(old, what)
                if new != old:
                    number_at[place] = new
                    sets.moved(old, new, 1)
        table.used += fresh
        sets.moved(NOBODY, alone, fresh)
        if full:
            self._rebuild(2 * self.places)
            self._store(names, what)

    def _remove(self, names: Names, what: int) -> None:
        table, sets = self._table, self._sets
        name_at, number_at, modulus = table.name_at, table.number_at, table.modulus
        alone, gone = sets.changed(NOBODY, what | 1), 0
        for name in names:
            place = name % modulus
            if name_at[place] != name:
                try:
                    place = table.seek(name)
                except SegmentFull:
                    continue
                if place < 0:
                    continue
            old = number_at[place]
            if old == alone:
                number_at[place] = NOBODY
                gone += 1
                continue
            new = sets.changed(old, what)
            if new != old:
                number_at[place] = new
                sets.moved(old, new, 1)
                self._removals += new == NOBODY
        sets.moved(alone, NOBODY, gone)
        self._removals += gone

    def _runs(self, names: Names) -> Iterable[tuple[int, int]]:
        """Where each run of equal numbers begins."""
        table, last = self._table, -1
        name_at, number_at, modulus = table.name_at, table.number_at, table.modulus
        for start, name in enumerate(names):
            place = name % modulus
            found = number_at[place] if name_at[place] == name else table.number(name)
            if found != last:
                last = found
                yield start, found

    # ── many at a time ───────────────────────────────────────────────────────────────────────────

    def _many_runs(self, names: Names) -> Iterable[tuple[int, int]]:
        places = self._table.find(as_array(names))
        numbers = np.where(places >= 0, self._table.numbers[places], np.uint32(NOBODY))
        edges = np.flatnonzero(numbers[1:] != numbers[:-1])
        starts = [0, *(edges + 1).tolist()]
        return zip(starts, numbers[starts].tolist(), strict=True)

    def _change(self, places: Places, what: int) -> None:
        """The same change for blocks that are all different."""
        before, inverse, counts = np.unique(self._table.numbers[places], return_inverse=True, return_counts=True)
        after = np.empty(before.size, np.uint32)
        for i, (old, blocks) in enumerate(zip(before.tolist(), counts.tolist(), strict=True)):
            new = after[i] = self._sets.changed(old, what)
            if new != old:
                self._sets.moved(old, new, blocks)
                if new == NOBODY:
                    self._removals += blocks
        self._table.numbers[places] = after[inverse]

    def _place(self, names: Hashes) -> Places:
        """Where each of these different names is; those that are new are given a place."""
        self._make_room(names.size)
        places = self._table.find(names)
        missing = np.flatnonzero(places < 0)
        try:
            places[missing] = self._table.claim(names[missing])
        except SegmentFull:
            self._rebuild(2 * self.places)
            return self._place(names)
        return places

    # ── order in the table ───────────────────────────────────────────────────────────────────────

    def _make_room(self, blocks: int) -> None:
        if self._table.used + blocks > FULL * self.places:
            self._rebuild(places_for(len(self) + blocks))

    def _sweep(self) -> None:
        """Put one segment in order: drop names that nobody holds, close up the rest."""
        table = self._table
        begin = self._sweep_next % self.places
        self._sweep_next = begin + SEGMENT
        part = slice(begin, begin + SEGMENT)
        names, numbers = table.names[part].copy(), table.numbers[part].copy()
        used = names != FREE
        held = used & ~self._nobody(numbers)
        self._dropped(numbers[used & ~held])
        table.names[part] = FREE
        table.numbers[part] = NOBODY
        table.used -= int(used.sum())
        table.numbers[table.claim(names[held])] = numbers[held]

    def _nobody(self, numbers: NDArray[np.uint32]) -> NDArray[np.bool_]:
        if numbers.size > len(self._sets):
            return self._sets.empty()[numbers]
        return np.isin(numbers, [number for number in np.unique(numbers).tolist() if self._sets.is_empty(number)])

    def _rebuild(self, places: int) -> None:
        """The same blocks in a table that is at least so large."""
        names, numbers = self._table.names, self._table.numbers
        held = (names != FREE) & ~self._nobody(numbers)
        self._dropped(numbers[(names != FREE) & ~held])
        places = max(places, self.places)
        while True:
            self._table = PackedTable(places)
            try:
                self._table.numbers[self._table.claim(names[held])] = numbers[held]
                break
            except SegmentFull:
                places *= 2
        self._sweep_next = self._removals = 0

    def _dropped(self, numbers: NDArray[np.uint32]) -> None:
        """Places with these numbers of sets are given up."""
        for number, blocks in zip(*(each.tolist() for each in np.unique(numbers, return_counts=True)), strict=True):
            self._sets.moved(number, NOBODY, blocks)
