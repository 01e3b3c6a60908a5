"""How one response was made: stages, each with its time, where it ran and what was found.

Every process writes down its own stages; a worker's travel back with its last output, so the front
process holds the whole story of a request and `tandem trace REQUEST_ID` prints it.
"""

import msgspec

Detail = str | int | float | bool | None


class Stage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened to a request."""

    name: str
    """What happened: one of the names in `observe/stages.py`."""
    at: float
    """Unix time in seconds at which it began."""
    duration_s: float | None = None
    """None for a moment that has no length."""
    instance: str = ""
    """Instance id of whoever did it; empty for the front process."""
    detail: dict[str, Detail] = {}
