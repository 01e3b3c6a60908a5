"""What becomes of a batch's lines, and how many run at once. No clock, no disk."""

from collections.abc import Set
from typing import Final, Literal

from tandem.errors import Overloaded, ServingError

PRIORITY: Final = 1_000_000
"""Of a batch's requests: behind whatever anybody asks for now. Smaller is sooner."""
MOST_LOSSES: Final = 2
"""A line whose process died with it is run once more; one that ends two processes is not run again."""
_RETRIES: Final = 3
"""How often a line is run again in one process when an instance that worked on it was lost."""
_LONGEST_WAIT_S: Final = 30.0

Next = Literal["answered", "again", "later"]


def lines_at_once(limit: int, live: int) -> int:
    """How many lines may run while `live` requests of clients do: each takes a line's place, one line stays."""
    return max(1, limit - live)


def share(slots: int, batches: int) -> int:
    """How many of the free slots one of `batches` batches takes: no batch waits for another's end."""
    return 0 if slots < 1 else max(1, slots // max(1, batches))


def after_failure(error: ServingError, tries: int) -> Next:
    """What to do with a line that ended in `error`, `tries` runs in.

    `later`: nothing was run, it is only too much now, or nobody is there; a batch has time. `again`: what ran it
    was lost. `answered`: the error is the answer.
    """
    if error.retry == "later":
        return "later"
    if error.retry == "other_instance":
        return "later" if error.code == "unavailable" else "again" if tries <= _RETRIES else "answered"
    return "answered"


def wait_s(error: ServingError, times: int) -> float:
    """How long to wait before the next try, after `times` waits."""
    least = error.retry_after_s if isinstance(error, Overloaded) else 1.0
    return min(_LONGEST_WAIT_S, max(least, 0.5 * 2.0 ** min(times, 10)))


def may_work_on(status: str, model: str | None, served: Set[str]) -> bool:
    """Whether a process that serves these models can go on with a batch. One that must end needs none."""
    return status != "in_progress" or model in served
