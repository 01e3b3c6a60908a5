"""Who holds which block: one open-addressed table, changed and read in batches.

Twelve bytes a place: a block's name and the number of its set of holders. A prompt is matched by looking
up all its blocks at once and walking the runs of equal sets: who is in none of the sets so far is out.
Chosen over dictionaries and trees by docs/decisions/0010-block-index.md.

Places are probed within segments, so that a segment can be put in order by itself: blocks that nobody
holds any more are swept out a segment at a time, never in one long pause.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tandem.kv.blocks import Hashes, from_bytes
from tandem.kv.holders import NOBODY, TIERS, HolderSets, Tier

_SEGMENT_BITS = 14
_SEGMENT = 1 << _SEGMENT_BITS
_FULL = 0.7
"""Share of places in use above which the table is doubled: beyond, probing gets long."""
_SWEEP_EVERY = _SEGMENT // 8
"""Removals per segment swept: keeps the places that nobody holds at about an eighth."""

_INSIDE = _SEGMENT - 1
_WINDOW = np.arange(1, 9)
_FREE = np.uint64(0)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_CODE_BITS = 24
_CODE_MASK = (1 << _CODE_BITS) - 1

_TIER_CODES = {tier: TIERS.index(tier) << 1 for tier in TIERS}
MAX_WORKERS = 1 << _CODE_BITS - 3

_Places = NDArray[np.intp]


class _SegmentFull(Exception):
    """Names fell too unevenly for this size of table."""


class Change(NamedTuple):
    """Blocks that a worker's tier has stored or removed."""

    worker: int
    tier: Tier
    names: bytes
    """As `tandem.kv.blocks.to_bytes` makes them: a batch of changes is then read in one go."""
    stored: bool


@dataclass(frozen=True, slots=True)
class Overlap:
    """Leading blocks of a prompt that one worker holds; each number includes the tiers before it."""

    gpu: int = 0
    predicted: int = 0
    """On the GPU, or sent there by us."""
    host: int = 0
    disk: int = 0


@dataclass(frozen=True, slots=True)
class Matches:
    """What `BlockIndex.matches` found, for all workers at once."""

    levels: tuple[tuple[tuple[int, int], ...], ...] = ((), (), (), ())
    """By tier: (leading blocks, workers that hold exactly so many, one bit each)."""

    def of(self, worker: int) -> Overlap:
        """One worker's share."""
        return Overlap(*(next((n for n, mask in tier if mask >> worker & 1), 0) for tier in self.levels))

    @property
    def longest(self) -> int:
        """Leading blocks that somebody holds, or will."""
        return max((n for n, _ in self.levels[-1]), default=0)

    @property
    def holders(self) -> int:
        """Workers that hold the longest part."""
        return max(self.levels[-1])[1].bit_count() if self.levels[-1] else 0


class BlockIndex:
    """Blocks and their holders. Workers are small numbers, given by the caller and used anew after `forget`."""

    def __init__(self, blocks: int = 0) -> None:
        self._sets = HolderSets()
        self._removals = 0
        self._sweep_next = 0
        self._used = 0
        self._allocate(self._places_for(blocks))

    def __len__(self) -> int:
        """Blocks that somebody holds."""
        return int((~self._nobody(self._set_of)).sum())

    @property
    def places(self) -> int:
        """Blocks that the table could hold if it were full."""
        return self._names.size

    @property
    def table_bytes(self) -> int:
        return self._names.nbytes + self._set_of.nbytes

    def reserve(self, blocks: int) -> None:
        """Make room at once for so many blocks in all, so that it need not grow while serving."""
        if (places := self._places_for(blocks)) > self.places:
            self._rebuild(places)

    def apply(self, changes: Iterable[Change]) -> None:
        """Carry out changes in order. Storing what is stored and removing what is not there change nothing."""
        batch = [change for change in changes if change.names]
        if not batch:
            return
        names = from_bytes(b"".join([change.names for change in batch]))
        sizes = [len(change.names) // names.itemsize for change in batch]
        codes = np.repeat([_code(worker, tier, stored) for worker, tier, _, stored in batch], sizes)
        distinct, inverse = np.unique(names, return_inverse=True)
        if len(batch) == 1:
            self._step(self._place(distinct, adding=batch[0].stored), codes[: distinct.size])
        else:
            places = self._place(distinct, adding=True)[inverse]
            for turn in _turns(inverse):
                self._step(places[turn], codes[turn])
        while self._removals >= _SWEEP_EVERY:  # last: it moves blocks to other places
            self._removals -= _SWEEP_EVERY
            self._sweep()

    def forget(self, worker: int, *tiers: Tier) -> None:
        """A worker holds nothing any more (in these tiers; in none, if none is named)."""
        self._sets.without(worker, tuple(TIERS.index(tier) for tier in tiers or TIERS))

    def matches(self, names: Hashes) -> Matches:
        """Leading blocks of a prompt that each worker holds, in one walk."""
        if not names.size:
            return Matches()
        numbers = self._numbers(names)
        edges = np.flatnonzero(numbers[1:] != numbers[:-1])
        starts = [0, *(edges + 1).tolist()]
        levels: tuple[list[tuple[int, int]], ...] = ([], [], [], [])
        alive = [-1] * len(TIERS)
        for start, number in zip(starts, numbers[starts].tolist(), strict=True):
            mask = 0
            for tier, held in enumerate(self._sets[number]):
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
                levels[tier].append((names.size, mask))
        return Matches(tuple(tuple(found) for found in levels))

    def held_by(self, worker: int, tier: Tier) -> Hashes:
        """Every block of a worker's tier, in no order. For checks; it reads the whole table."""
        which, bit = TIERS.index(tier), 1 << worker
        numbers = np.unique(self._set_of)
        mine = [number for number in numbers.tolist() if self._sets[number][which] & bit]
        return self._names[np.isin(self._set_of, mine)]

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _step(self, places: _Places, codes: NDArray[np.int64]) -> None:
        """One change each for blocks that are all different."""
        known = places >= 0
        if not known.all():  # removed, but never stored
            places, codes = places[known], codes[known]
        old = self._set_of[places].astype(np.int64)
        pairs, inverse, counts = np.unique(old << _CODE_BITS | codes, return_inverse=True, return_counts=True)
        new = np.empty(pairs.size, np.uint32)
        for i, (pair, blocks) in enumerate(zip(pairs.tolist(), counts.tolist(), strict=True)):
            before, code = pair >> _CODE_BITS, pair & _CODE_MASK
            after = self._sets.changed(before, code >> 3, code >> 1 & 3, add=bool(code & 1))
            new[i] = after
            if after != before:
                self._sets.moved(before, after, blocks)
            if after == NOBODY:
                self._removals += blocks
        self._set_of[places] = new[inverse]

    def _numbers(self, names: Hashes) -> NDArray[np.uint32]:
        places = self._find(names)
        return np.where(places >= 0, self._set_of[places], np.uint32(NOBODY))

    def _find(self, names: Hashes) -> _Places:
        """Where each name is; -1 where it is not."""
        places = self._homes(names)
        there = self._names[places]
        if (there == names).all():
            return places
        open_ = np.flatnonzero(there != names)
        places[open_[there[open_] == _FREE]] = -1
        open_ = open_[places[open_] >= 0]
        for _ in range(_SEGMENT // _WINDOW.size + 1):  # a cache line of places at a time
            if not open_.size:
                return places
            begin = places[open_]
            window = (begin & ~_INSIDE)[:, None] | ((begin[:, None] + _WINDOW) & _INSIDE)
            there = self._names[window]
            hit = there == names[open_, None]
            over = hit | (there == _FREE)
            first = over.argmax(axis=1)
            row = np.arange(open_.size)
            places[open_] = np.where(hit[row, first], window[row, first], -1)
            lost = ~over[row, first]
            open_ = open_[lost]
            places[open_] = window[lost, -1]
        places[open_] = -1
        return places

    def _place(self, names: Hashes, *, adding: bool) -> _Places:
        """Where each of these different names is; those that are new are given a place, if wanted."""
        places = self._find(names)
        if adding and (missing := np.flatnonzero(places < 0)).size:
            if self._used + missing.size > _FULL * self.places:
                self._rebuild(self._places_for(len(self) + missing.size))
                return self._place(names, adding=adding)
            try:
                places[missing] = self._claim(names[missing])
            except _SegmentFull:
                self._rebuild(2 * self.places)
                return self._place(names, adding=adding)
        return places

    def _claim(self, names: Hashes) -> _Places:
        places = self._homes(names)
        todo = np.arange(names.size)
        for _ in range(_SEGMENT):
            if not todo.size:
                break
            at = places[todo]
            free = self._names[at] == _FREE
            self._names[at[free]] = names[todo[free]]  # of two that want a place, the last gets it
            todo = todo[self._names[at] != names[todo]]
            places[todo] = _next(places[todo])
        self._used += names.size - todo.size
        if todo.size:
            raise _SegmentFull
        return places

    def _homes(self, names: Hashes) -> _Places:
        """Where the search for each name begins. Spread once more: names may come from anywhere."""
        homes: _Places = ((names * _SPREAD) >> self._shift).astype(np.intp)
        return homes

    def _sweep(self) -> None:
        """Put one segment in order: drop names that nobody holds, close up the rest."""
        begin = self._sweep_next
        self._sweep_next = (begin + _SEGMENT) % self.places
        part = slice(begin, begin + _SEGMENT)
        names, sets = self._names[part].copy(), self._set_of[part].copy()
        used = names != _FREE
        held = used & ~self._nobody(sets)
        self._dropped(sets[used & ~held])
        self._names[part] = _FREE
        self._set_of[part] = NOBODY
        self._used -= int(used.sum())
        self._set_of[self._claim(names[held])] = sets[held]

    def _nobody(self, sets: NDArray[np.uint32]) -> NDArray[np.bool_]:
        numbers = np.unique(sets)
        empty = [number for number in numbers.tolist() if self._sets.is_empty(number)]
        return np.isin(sets, empty)

    def _rebuild(self, places: int) -> None:
        """The same blocks in a table that is at least so large."""
        names, sets = self._names, self._set_of
        held = (names != _FREE) & ~self._nobody(sets)
        self._dropped(sets[(names != _FREE) & ~held])
        places = max(places, self.places)
        while True:
            self._allocate(places)
            try:
                self._set_of[self._claim(names[held])] = sets[held]
                return
            except _SegmentFull:
                places *= 2

    def _dropped(self, sets: NDArray[np.uint32]) -> None:
        """Places with these numbers of sets are given up."""
        numbers, counts = np.unique(sets, return_counts=True)
        for number, blocks in zip(numbers.tolist(), counts.tolist(), strict=True):
            self._sets.moved(number, NOBODY, blocks)

    def _allocate(self, places: int) -> None:
        self._names: Hashes = np.zeros(places, np.uint64)
        self._set_of = np.zeros(places, np.uint32)
        self._shift = np.uint64(64 - (places.bit_length() - 1))
        self._used = self._sweep_next = self._removals = 0

    @staticmethod
    def _places_for(blocks: int) -> int:
        """A power of two in which so many blocks leave room to spare."""
        places = _SEGMENT
        while blocks > 0.6 * places:
            places *= 2
        return places


def _code(worker: int, tier: Tier, stored: bool) -> int:
    """A change's worker, tier and direction in one number."""
    return worker << 3 | _TIER_CODES[tier] | stored


def _next(places: _Places) -> _Places:
    """The places after these, within their segments."""
    following: _Places = (places & ~_INSIDE) | ((places + 1) & _INSIDE)
    return following


def _turns(which: _Places) -> Iterator[_Places | slice]:
    """Positions such that no value of `which` comes twice in one turn, and each value's positions keep their order."""
    order = np.argsort(which, kind="stable")
    ordered = which[order]
    first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    lengths = np.diff(np.append(first, which.size))
    if lengths.max() == 1:
        yield slice(None)
        return
    turn_of = np.arange(which.size) - np.repeat(first, lengths)
    for turn in range(int(lengths.max())):
        yield order[turn_of == turn]
