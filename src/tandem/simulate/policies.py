"""Policies to compare with: what others route by. The product's own come from the router."""

from collections.abc import Sequence
from random import Random

from xxhash import xxh3_64_intdigest

from tandem.kv.blocks import Hashes
from tandem.simulate.trace import TraceRequest


class Deaf:
    """A policy that needs to be told nothing."""

    def first_token(self, request_id: str, now: float) -> None: ...
    def finished(self, request_id: str, now: float) -> None: ...
    def stored(self, worker: int, names: Hashes, now: float) -> None: ...
    def removed(self, worker: int, names: Hashes, now: float) -> None: ...
    def died(self, worker: int, now: float) -> None: ...


class PrefixHash(Deaf):
    """Prompts with equal first blocks go to one worker, whatever its load: rendezvous hashing."""

    def __init__(self, blocks: int = 4) -> None:
        self._blocks = blocks

    def choose(self, request: TraceRequest, alive: Sequence[int], now: float) -> int:
        """The worker that the prefix hashes to."""
        prefix = request.names[: self._blocks].tobytes()
        return max(alive, key=lambda worker: xxh3_64_intdigest(prefix, worker))


class PowerOfTwo(Deaf):
    """The less busy, by sequences, of two drawn by lot."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(seed)
        self._active: dict[int, int] = {}
        self._at: dict[str, int] = {}

    def choose(self, request: TraceRequest, alive: Sequence[int], now: float) -> int:
        """One of two."""
        chosen = min(self._rng.sample(alive, min(2, len(alive))), key=lambda worker: self._active.get(worker, 0))
        self._active[chosen] = self._active.get(chosen, 0) + 1
        self._at[request.request_id] = chosen
        return chosen

    def finished(self, request_id: str, now: float) -> None:
        """Its worker has one less."""
        worker = self._at.pop(request_id, None)
        if worker is not None:
            self._active[worker] -= 1
