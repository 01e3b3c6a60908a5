"""Stop strings, found across the borders of tokens.

The text ends at the stop string that is *complete* first; of two complete at the same place, at the one
that began earlier. That is what a reader of single characters would do, so portions do not matter. Text
that may still turn out to be the beginning of a stop string is held back.
"""

from collections.abc import Sequence

from tandem.processor.lane import escaped


def held_back(text: str, marks: Sequence[str]) -> int:
    """Length of the longest end of `text` that is a proper beginning of one of `marks`."""
    longest = 0
    for mark in marks:
        tail = text[1 - len(mark) :] if len(mark) > 1 else ""
        start = tail.find(mark[0])
        while start >= 0 and len(tail) - start > longest:
            if mark.startswith(tail[start:]):
                longest = len(tail) - start
            start = tail.find(mark[0], start + 1)
    return longest


class StopStrings:
    """Watches one sequence's text."""

    __slots__ = ("_firsts", "_include", "_marks", "_waiting", "found")

    def __init__(self, marks: Sequence[str], *, include: bool = False) -> None:
        self._marks = tuple(marks)
        self._firsts = tuple({escaped(mark[0]) for mark in marks})
        self._include = include
        self._waiting = ""
        self.found: str | None = None
        """The stop string that was met. Text after it is dropped."""

    def feed(self, text: str) -> str:
        """The part of the text so far that is certain to belong to the answer."""
        if self.found is not None:
            return ""
        text = self._waiting + text
        best: tuple[int, int] | None = None
        for mark in self._marks:
            start = text.find(mark)
            if start >= 0 and (best is None or (start + len(mark), start) < best):
                best = (start + len(mark), start)
        if best is not None:
            end, start = best
            self.found, self._waiting = text[start:end], ""
            return text[: end if self._include else start]
        keep = len(text) - held_back(text, self._marks)
        self._waiting = text[keep:]
        return text[:keep]

    def passes(self, text: bytes) -> bool:
        """Whether a text, escaped as in JSON, is certain to pass unchanged. Pessimistic, and changes nothing."""
        if self._waiting or self.found is not None:
            return False
        return not any(first in text for first in self._firsts)

    def close(self) -> str:
        """The answer ended otherwise: what was held back belongs to it."""
        rest, self._waiting = self._waiting, ""
        return rest
