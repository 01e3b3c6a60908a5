"""Whose requests a router in a process of its own counts. Pure state.

A front end that asks holds a line open. When its last line breaks, with the process or with the connection, whatever
was chosen for it is over, though nobody is left to say so.
"""

from collections import Counter


class Askers:
    """Open choices by who asked for them."""

    def __init__(self) -> None:
        self._lines: Counter[str] = Counter()
        self._open: dict[str, set[str]] = {}
        self._whose: dict[str, str] = {}

    def came(self, asker: str) -> None:
        """It holds a line now, or one more."""
        self._lines[asker] += 1

    def asked(self, asker: str, request_id: str) -> None:
        """A choice is made for it."""
        if asker:
            self._open.setdefault(asker, set()).add(request_id)
            self._whose[request_id] = asker

    def over(self, request_id: str) -> None:
        """A request left its instance. Safe to repeat."""
        asker = self._whose.pop(request_id, None)
        if asker is not None:
            mine = self._open[asker]
            mine.discard(request_id)
            if not mine:
                del self._open[asker]

    def went(self, asker: str) -> list[str]:
        """A line of it broke; returns the requests that are over because it was the last."""
        self._lines[asker] -= 1
        if self._lines[asker] > 0:
            return []
        del self._lines[asker]
        lost = sorted(self._open.get(asker, ()))
        for request_id in lost:
            self.over(request_id)
        return lost
