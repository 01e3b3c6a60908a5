"""Overload: who is served and who is sent away before queues grow. Pure.

Two measures: requests in this process (memory), and sequences that wait in the decode workers (time). Less urgent
requests are sent away first, more urgent ones last.
"""

from dataclasses import dataclass, field
from typing import Final

from tandem.core.load import LoadReport
from tandem.errors import Overloaded

_STALE_S: Final = 10.0
"""A worker that was silent for so long is not counted."""
_RETRY_S: Final = 1.0
_RETRY_LESS_URGENT_S: Final = 5.0


def share(limit: int, priority: int) -> int:
    """How much of `limit` requests of a priority may use. Below 0 is more urgent, and gets a quarter more."""
    if priority < 0:
        return limit + limit // 4
    return limit - limit // 4 if priority > 0 else limit


@dataclass(slots=True)
class Pressure:
    """How much waits in the workers, as they report it and as we have sent since."""

    _heard: dict[str, tuple[float, int]] = field(default_factory=dict)
    _sent: int = 0
    """Requests let through since the last report of anybody."""

    def heard(self, report: LoadReport, now: float) -> None:
        """A worker reported."""
        self._heard[report.instance_id] = (now, report.waiting)
        self._sent = 0

    def sent(self) -> None:
        """A request was let through."""
        self._sent += 1

    def waiting(self, now: float) -> float:
        """Sequences that wait per worker; 0 while nobody reports."""
        self._heard = {who: told for who, told in self._heard.items() if now - told[0] <= _STALE_S}
        if not self._heard:
            return 0.0
        waiting = sum(count for _, count in self._heard.values())
        # What was sent a moment ago runs at once where nobody waits: only a queue makes it wait too.
        return (waiting + (self._sent if waiting else 0)) / len(self._heard)


@dataclass(slots=True)
class Admission:
    """Lets requests through, or raises `Overloaded`."""

    max_inflight: int = 1024
    max_waiting: int = 256
    pressure: Pressure = field(default_factory=Pressure)

    def place(self, running: int, priority: int) -> None:
        """There is a place here for one more beside `running`."""
        if running >= share(self.max_inflight, priority):
            raise Overloaded(f"{running} requests are being served; try again", retry_after_s=_retry(priority))

    def turn(self, priority: int, now: float) -> None:
        """The workers can take one more; it counts as sent."""
        if (waiting := self.pressure.waiting(now)) >= share(self.max_waiting, priority):
            raise Overloaded(f"{waiting:.0f} requests wait for each worker; try again", retry_after_s=_retry(priority))
        self.pressure.sent()


def _retry(priority: int) -> float:
    return _RETRY_LESS_URGENT_S if priority > 0 else _RETRY_S
