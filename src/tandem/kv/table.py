"""One open-addressed table from names to numbers, for many names at once and for one.

Twelve bytes a place. Places are probed within segments, so that a segment can be put in order by itself.
A few names are looked up faster one by one, through memory views, than with numpy, whose every call costs
as much as three names; so both ways stand side by side on the same bytes.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tandem.kv.blocks import Hashes

_SEGMENT_BITS = 14
SEGMENT: Final = 1 << _SEGMENT_BITS
FULL: Final = 0.7
"""Share of places in use above which the table is doubled: beyond, probing gets long."""

_INSIDE = SEGMENT - 1
_WINDOW = np.arange(1, 9)
_FEW = 32
"""Names that are not where they belong: up to so many are sought one by one."""
FREE: Final = np.uint64(0)

Places = NDArray[np.intp]


class SegmentFull(Exception):
    """Names fell too unevenly for this size of table."""


class PackedTable:
    """Names with a number each.

    Args:
        places: a power of two, at least a segment.
    """

    def __init__(self, places: int) -> None:
        self.names: Hashes = np.zeros(places, np.uint64)
        self.numbers = np.zeros(places, np.uint32)
        self.name_at = self.names.data
        """The same bytes as `names`, for one name at a time."""
        self.number_at = self.numbers.data
        self.modulus = places - 1
        """The search for a name begins at the rest that it leaves. Every bit counts: names may come from anywhere."""
        self.used = 0

    @property
    def places(self) -> int:
        return self.names.size

    def seek(self, name: int) -> int:
        """Where a name is; where it belongs, as the complement of that place, when it is not there.

        Raises:
            SegmentFull: it is not there, and there is no place for it.
        """
        view = self.name_at
        place = name % self.modulus
        begin = place & ~_INSIDE
        for _ in range(SEGMENT):
            there = view[place]
            if there == name:
                return place
            if not there:
                return ~place
            place = begin | place + 1 & _INSIDE
        raise SegmentFull

    def number(self, name: int) -> int:
        """A name's number; 0 when it is not there."""
        place = self._sought(name)
        return self.number_at[place] if place >= 0 else 0

    def find(self, names: Hashes) -> Places:
        """Where each name is; -1 where it is not."""
        places = self._homes(names)
        there = self.names[places]
        if (there == names).all():
            return places
        open_ = np.flatnonzero(there != names)
        places[open_[there[open_] == FREE]] = -1
        open_ = open_[places[open_] >= 0]
        if open_.size < _FEW:
            for i in open_.tolist():
                places[i] = self._sought(int(names[i]))
            return places
        for _ in range(SEGMENT // _WINDOW.size + 1):  # a cache line of places at a time
            if not open_.size:
                return places
            begin = places[open_]
            window = (begin & ~_INSIDE)[:, None] | ((begin[:, None] + _WINDOW) & _INSIDE)
            there = self.names[window]
            hit = there == names[open_, None]
            over = hit | (there == FREE)
            first = over.argmax(axis=1)
            row = np.arange(open_.size)
            places[open_] = np.where(hit[row, first], window[row, first], -1)
            lost = ~over[row, first]
            open_ = open_[lost]
            places[open_] = window[lost, -1]
        places[open_] = -1
        return places

    def claim(self, names: Hashes) -> Places:
        """Give each of these different names, none of which is there, a place.

        Raises:
            SegmentFull: not all of them found one.
        """
        places = self._homes(names)
        todo = np.arange(names.size)
        for _ in range(SEGMENT):
            if not todo.size:
                break
            at = places[todo]
            free = self.names[at] == FREE
            self.names[at[free]] = names[todo[free]]  # of two that want a place, the last gets it
            todo = todo[self.names[at] != names[todo]]
            places[todo] = (places[todo] & ~_INSIDE) | ((places[todo] + 1) & _INSIDE)
        self.used += names.size - todo.size
        if todo.size:
            raise SegmentFull
        return places

    def _sought(self, name: int) -> int:
        """Where a name is; -1 where it is not."""
        try:
            place = self.seek(name)
        except SegmentFull:
            return -1
        return place if place >= 0 else -1

    def _homes(self, names: Hashes) -> Places:
        """Where the search for each name begins."""
        homes: Places = (names % np.uint64(self.modulus)).astype(np.intp)
        return homes


def places_for(blocks: int) -> int:
    """A power of two in which so many blocks leave room to spare."""
    places = SEGMENT
    while blocks > 0.6 * places:
        places *= 2
    return places
