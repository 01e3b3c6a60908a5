"""What an engine's cache tells the world: blocks stored, blocks removed, all gone.

`engine_block_hash` is the engine's own identity of a block. It names blocks for removal and is never
compared with hashes that we compute.
"""

import msgspec


class BlockStored(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Full blocks that can be reused from now on, chained in order."""

    engine_block_hashes: list[int]
    parent_engine_block_hash: int | None
    token_ids: list[int]
    """Tokens of all these blocks, concatenated; empty when the tier does not say."""
    block_size_tokens: int
    tier: str = "gpu"
    lora_name: str | None = None
    cache_salt: str | None = None


class BlockRemoved(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Blocks that a tier no longer holds."""

    engine_block_hashes: list[int]
    tier: str = "gpu"


class AllBlocksCleared(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The whole cache was dropped."""


KvEvent = BlockStored | BlockRemoved | AllBlocksCleared


class KvEventBatch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Events of one engine step. `seq` grows by one per batch and data-parallel rank; a jump is a loss."""

    seq: int
    events: list[KvEvent]
    dp_rank: int = 0
