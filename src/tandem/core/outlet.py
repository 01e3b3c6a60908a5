"""A short way from a token to its client: text put on the socket where it arrives, with no task in between.

The processor knows how an event of a stream looks around its text, the front door how events travel; both
hold one end of an `Outlet`. Whatever is not plain text goes the long way, as a reply.
"""

from collections.abc import Callable, Sequence
from typing import Protocol


class Outlet(Protocol):
    """Where the events of one response may be written at once."""

    def ready(self) -> bool:
        """Whether an event may be written now: the response has begun and its client keeps up."""

    def events(self, parts: Sequence[bytes]) -> Callable[[list[bytes]], None]:
        """A writer of events that differ in one text only. Call it while `ready`.

        Args:
            parts: the event's JSON, cut at each place where the text stands.
        Returns:
            Writes an event for each of some texts, which it takes as JSON has them, without quotes.
        """
