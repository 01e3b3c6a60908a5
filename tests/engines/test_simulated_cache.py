"""The block cache: references, prefix hits, eviction and events."""

from hypothesis import given
from hypothesis import strategies as st

from tandem.core.kv_events import AllBlocksCleared, BlockRemoved, BlockStored
from tandem.engines.simulated.cache import BlockCache


def filled(cache: BlockCache, keys: list[int]) -> list[int]:
    """Blocks that hold a chain of these keys, still in use."""
    blocks = cache.take(len(keys))
    assert blocks is not None
    parent = None
    for block, key in zip(blocks, keys, strict=True):
        cache.seal(block, key, parent=parent, token_ids=[key] * cache.block_size_tokens, cache_salt=None)
        parent = key
    return blocks


def test_a_released_block_can_be_hit_until_it_is_evicted() -> None:
    cache = BlockCache(4, 2)
    cache.release(filled(cache, [1, 2]))
    assert len(cache.hits([1, 2, 3])) == 2
    assert cache.take(4) is not None
    assert cache.hits([1, 2]) == []


def test_the_tail_of_a_chain_is_evicted_before_its_head() -> None:
    cache = BlockCache(3, 2)
    cache.release(filled(cache, [1, 2, 3]))
    assert cache.take(1) is not None
    assert len(cache.hits([1, 2, 3])) == 2


def test_the_least_recently_used_chain_goes_first() -> None:
    cache = BlockCache(4, 2)
    cache.release(filled(cache, [1, 2]))
    cache.release(filled(cache, [3, 4]))
    hit = cache.hits([1, 2])
    cache.hold(hit)
    cache.release(hit)
    assert cache.take(2) is not None
    assert cache.hits([3, 4]) == []
    assert len(cache.hits([1, 2])) == 2


def test_held_blocks_are_never_taken() -> None:
    cache = BlockCache(2, 2)
    filled(cache, [1, 2])
    assert cache.take(1) is None
    assert not cache.reset()


def test_events_chain_blocks_and_tell_of_evictions() -> None:
    cache = BlockCache(2, 2)
    cache.release(filled(cache, [1, 2]))
    stored = cache.events()
    assert stored == [
        BlockStored(
            engine_block_hashes=[1, 2], parent_engine_block_hash=None, token_ids=[1, 1, 2, 2], block_size_tokens=2
        )
    ]
    cache.take(1)
    assert cache.events() == [BlockRemoved(engine_block_hashes=[2])]


def test_a_reset_forgets_everything_and_says_so() -> None:
    cache = BlockCache(2, 2)
    cache.release(filled(cache, [1]))
    cache.events()
    assert cache.reset()
    assert cache.hits([1]) == []
    assert cache.events() == [AllBlocksCleared()]


def test_a_cache_without_reuse_tells_nothing() -> None:
    cache = BlockCache(2, 2, reuse=False)
    cache.release(filled(cache, [1]))
    assert cache.hits([1]) == []
    assert cache.events() == []


@given(st.lists(st.tuples(st.sampled_from("thrf"), st.integers(1, 4)), max_size=60))
def test_blocks_are_neither_lost_nor_held_twice(steps: list[tuple[str, int]]) -> None:
    cache = BlockCache(8, 1)
    held: list[list[int]] = []
    for what, count in steps:
        if what == "t" and (taken := cache.take(count)) is not None:
            held.append(taken)
        elif what == "f" and cache.free_blocks >= count:
            held.append(filled(cache, [count * 10 + i for i in range(count)]))
        elif what == "h":
            hit = cache.hits([count * 10 + i for i in range(count)])
            cache.hold(hit)
            held.append(hit)
        elif what == "r" and held:
            cache.release(held.pop(count % len(held)))
        in_use = {block for blocks in held for block in blocks}
        assert cache.used_blocks == len(in_use)
        assert cache.used_blocks + cache.free_blocks == cache.num_blocks
    known: set[int] = set()
    for event in cache.events():
        if isinstance(event, BlockStored):
            assert not known & set(event.engine_block_hashes)
            known |= set(event.engine_block_hashes)
        elif isinstance(event, BlockRemoved):
            assert set(event.engine_block_hashes) <= known
            known -= set(event.engine_block_hashes)
    assert known == set(cache._by_key), "who follows the events knows the cache"
