"""A worker's side: what its engine holds, by our names.

Engine hashes name blocks in the engine's own events and nowhere else; here each is mapped to our name as it
is stored, and what leaves the worker are our names. Pure state, one for each data-parallel rank.
"""

from collections import Counter
from dataclasses import dataclass, field

from tandem.core.kv_events import AllBlocksCleared, BlockRemoved, BlockStored, KvEvent, KvEventBatch
from tandem.core.kv_updates import KvChange
from tandem.kv.blocks import Names, block_hashes, chain_root, to_bytes

_TIERS = ("gpu", "host", "disk")
_PART = 65_536
"""Blocks in one part of a state: half a megabyte."""


@dataclass(slots=True)
class BlockLedger:
    """Blocks of one rank.

    Args:
        model: the name that begins every chain: the model as served.
        block_size_tokens: the engine's; events of another size are dropped and counted.
    """

    model: str
    block_size_tokens: int
    seq: int = -1
    """Number of the last update."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Events that could not be used, by why."""
    _next_batch: int | None = None
    _names: dict[int, int] = field(default_factory=dict)
    """Our name by the engine's hash."""
    _held: dict[str, set[int]] = field(default_factory=lambda: {tier: set() for tier in _TIERS})
    """Engine hashes by tier."""

    def __len__(self) -> int:
        return len(self._names)

    def apply(self, batch: KvEventBatch) -> list[KvChange]:
        """The batch's events as changes to publish, under the number that `seq` then has; empty when there are none."""
        changes = []
        if self._next_batch is not None and batch.seq < self._next_batch:
            self.dropped["repeated"] += 1
            return []
        if self._next_batch is not None and batch.seq > self._next_batch:
            self.dropped["gap"] += 1  # what it held is unknown: better to know of nothing than of the wrong blocks
            changes.append(self._cleared())
        self._next_batch = batch.seq + 1
        for event in batch.events:
            change = self._change(event)
            if change is not None:
                changes.append(change)
        self.seq += bool(changes)
        return changes

    def state(self) -> list[list[KvChange]]:
        """Everything held, in parts that fit a message; at least one, which may be empty."""
        parts = []
        for tier in _TIERS:
            names = [self._names[h] for h in self._held[tier]]
            parts += [[_stored(tier, names[i : i + _PART])] for i in range(0, len(names), _PART)]
        return parts or [[]]

    def _change(self, event: KvEvent) -> KvChange | None:
        if isinstance(event, AllBlocksCleared):
            return self._cleared()
        if event.tier not in _TIERS:
            self.dropped["unknown_tier"] += 1
            return None
        if isinstance(event, BlockRemoved):
            return self._removed(event)
        names = self._named(event)
        if names is None:
            return None
        self._names.update(zip(event.engine_block_hashes, names, strict=True))
        self._held[event.tier].update(event.engine_block_hashes)
        return _stored(event.tier, names)

    def _named(self, event: BlockStored) -> Names | None:
        hashes = event.engine_block_hashes
        if not event.token_ids:  # a slower tier that only repeats hashes
            known = [self._names[h] for h in hashes if h in self._names]
            if len(known) == len(hashes):
                return known
            self.dropped["without_tokens"] += 1
            return None
        if event.block_size_tokens != self.block_size_tokens:
            self.dropped["foreign_block_size"] += 1
            return None
        if len(event.token_ids) != len(hashes) * self.block_size_tokens:
            self.dropped["garbage"] += 1
            return None
        if event.parent_engine_block_hash is None:
            root = chain_root(self.model, lora_name=event.lora_name, cache_salt=event.cache_salt)
        elif event.parent_engine_block_hash in self._names:
            root = self._names[event.parent_engine_block_hash]
        else:
            self.dropped["unknown_parent"] += 1
            return None
        try:
            return block_hashes(event.token_ids, self.block_size_tokens, root)
        except (OverflowError, TypeError):
            self.dropped["garbage"] += 1
            return None

    def _removed(self, event: BlockRemoved) -> KvChange | None:
        held = self._held[event.tier]
        known = [h for h in dict.fromkeys(event.engine_block_hashes) if h in held]
        self.dropped["unknown_block"] += len(event.engine_block_hashes) - len(known)
        if not known:
            return None
        held.difference_update(known)
        names = [self._names[h] for h in known]
        for engine_hash in known:
            if not any(engine_hash in blocks for blocks in self._held.values()):
                del self._names[engine_hash]
        return KvChange("removed", event.tier, to_bytes(names))  # type: ignore[arg-type]

    def _cleared(self) -> KvChange:
        self._names.clear()
        for held in self._held.values():
            held.clear()
        return KvChange("cleared")


def _stored(tier: str, names: Names) -> KvChange:
    return KvChange("stored", tier, to_bytes(names))  # type: ignore[arg-type]
