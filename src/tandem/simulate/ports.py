"""What a policy is to the replay: it chooses workers, and is told what a router would be told."""

from collections.abc import Sequence
from typing import Protocol

from tandem.kv.blocks import Hashes
from tandem.simulate.trace import TraceRequest


class Policy(Protocol):
    """Chooses a worker for each request. Times are seconds since the trace began."""

    def choose(self, request: TraceRequest, alive: Sequence[int], now: float) -> int:
        """One of the workers that are alive, by number."""

    def first_token(self, request_id: str, now: float) -> None:
        """The request's prompt is computed."""

    def finished(self, request_id: str, now: float) -> None:
        """The request is over, or its worker died."""

    def stored(self, worker: int, names: Hashes, now: float) -> None:
        """A worker can reuse these blocks from now on."""

    def removed(self, worker: int, names: Hashes, now: float) -> None:
        """A worker has evicted these blocks."""

    def died(self, worker: int, now: float) -> None:
        """A worker is gone with all it held."""
