"""How many KV bytes one hand-off moved. The engine counts for all of them together.

A pull that ran alone is what the engine's counter grew by. Where pulls overlapped, nobody can tell them
apart: each then counts the blocks that its hand-off covers, and says that it is an estimate.
"""

from dataclasses import dataclass

from tandem.core.handoff import Handoff
from tandem.engines.ports import Engine


@dataclass(slots=True, eq=False)
class Pull:
    """One pull under way."""

    counted_before: int
    """The engine's counter when it began. Bytes."""
    alone: bool


class PullMeter:
    """Keeps overlapping pulls of one decode engine apart."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._running: set[Pull] = set()

    def begin(self) -> Pull:
        """A pull is about to be asked for."""
        for other in self._running:
            other.alone = False
        pull = Pull(self._engine.transfer_totals().kv_bytes, alone=not self._running)
        self._running.add(pull)
        return pull

    def end(self, pull: Pull) -> None:
        """It is over, with or without its KV. Safe to repeat."""
        self._running.discard(pull)

    def moved(self, pull: Pull, handoff: Handoff) -> int:
        """Bytes that it moved: counted if `pull.alone`, else estimated."""
        if pull.alone:
            return self._engine.transfer_totals().kv_bytes - pull.counted_before
        facts = self._engine.facts
        return -(-handoff.num_tokens // facts.block_size_tokens) * facts.block_bytes
