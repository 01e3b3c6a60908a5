"""A real block cache for the simulated engine: references, prefix hits, least-recently-used eviction, events.

Every block is in one of three states: in use (references > 0), cached (no reference, has a key, may be
hit or evicted), or empty. A block's `content` is the running value at its last written token.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from tandem.core.kv_events import AllBlocksCleared, BlockRemoved, BlockStored, KvEvent


class BlockCache:
    """Blocks of one engine. Not safe for threads; one event loop owns it."""

    def __init__(self, num_blocks: int, block_size_tokens: int, *, reuse: bool = True) -> None:
        self.num_blocks = num_blocks
        self.block_size_tokens = block_size_tokens
        self.reuse = reuse
        self.content = [0] * num_blocks
        self._references = [0] * num_blocks
        self._key: list[int | None] = [None] * num_blocks
        self._by_key: dict[int, int] = {}
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(num_blocks))
        """Blocks without references, the next to be taken first."""
        self._events: list[KvEvent] = []

    @property
    def free_blocks(self) -> int:
        return len(self._free)

    @property
    def used_blocks(self) -> int:
        return self.num_blocks - len(self._free)

    def hits(self, keys: Iterable[int]) -> list[int]:
        """The blocks of the longest prefix of `keys` that is here. They are not held yet."""
        found = []
        for key in keys:
            block = self._by_key.get(key)
            if block is None:
                break
            found.append(block)
        return found

    def hold(self, blocks: Sequence[int]) -> None:
        """Add a reference to each."""
        for block in blocks:
            self._references[block] += 1
            self._free.pop(block, None)

    def take(self, count: int) -> list[int] | None:
        """`count` blocks to write to, each with one reference, evicting cached ones; None if there are too few."""
        if count > len(self._free):
            return None
        taken = [self._free.popitem(last=False)[0] for _ in range(count)]
        removed = []
        for block in taken:
            self._references[block] = 1
            self.content[block] = 0
            key, self._key[block] = self._key[block], None
            if key is not None:
                del self._by_key[key]
                removed.append(key)
        if removed:
            self._events.append(BlockRemoved(engine_block_hashes=removed))
        return taken

    def seal(
        self,
        block: int,
        key: int,
        *,
        parent: int | None,
        token_ids: list[int],
        cache_salt: str | None,
        lora_name: str | None = None,
    ) -> None:
        """A block we hold is full: others may hit it from now on. A second block of the same key stays private."""
        if not self.reuse or key in self._by_key or self._key[block] is not None:
            return
        self._key[block] = key
        self._by_key[key] = block
        last = self._events[-1] if self._events else None
        if (
            isinstance(last, BlockStored)
            and parent == last.engine_block_hashes[-1]
            and (last.cache_salt, last.lora_name) == (cache_salt, lora_name)
        ):
            last.engine_block_hashes.append(key)
            last.token_ids.extend(token_ids)
            return
        self._events.append(
            BlockStored(
                engine_block_hashes=[key],
                parent_engine_block_hash=parent,
                token_ids=list(token_ids),
                block_size_tokens=self.block_size_tokens,
                cache_salt=cache_salt,
                lora_name=lora_name,
            )
        )

    def release(self, blocks: Sequence[int]) -> None:
        """Drop a reference from each. The tail is evicted before the head, which more prompts share."""
        for block in reversed(blocks):
            self._references[block] -= 1
            assert self._references[block] >= 0, "a block was released more often than held"
            if self._references[block] == 0:
                self._free[block] = None
                if self._key[block] is None:
                    self._free.move_to_end(block, last=False)

    def reset(self) -> bool:
        """Forget all cached blocks. False, and nothing is done, while any block is in use."""
        if self.used_blocks:
            return False
        self._key = [None] * self.num_blocks
        self._by_key.clear()
        self._events.append(AllBlocksCleared())
        return True

    def events(self) -> list[KvEvent]:
        """What happened since the last call."""
        taken, self._events = self._events, []
        return taken
