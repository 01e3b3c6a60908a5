"""KV events of vLLM, in both of its encodings, become ours."""

from typing import Any

import msgspec

from tandem.core.kv_events import AllBlocksCleared, BlockRemoved, BlockStored
from tandem.engines.vllm.events import EventDecoder


def payload(*events: Any, rank: int | None = 0) -> bytes:
    return msgspec.msgpack.encode([1.0, list(events), rank])


def stored(**changes: Any) -> dict[str, Any]:
    event = {"type": "BlockStored", "block_hashes": [1, 2], "parent_block_hash": None, "token_ids": [7, 8, 9, 10]}
    return {**event, "block_size": 2, "lora_id": None, "medium": "GPU", "lora_name": None, **changes}


def test_maps_with_a_type_are_read() -> None:
    batch = EventDecoder().decode(
        5, payload(stored(), {"type": "BlockRemoved", "block_hashes": [1]}, {"type": "AllBlocksCleared"})
    )
    assert batch.seq == 5
    assert batch.events == [
        BlockStored(
            engine_block_hashes=[1, 2], parent_engine_block_hash=None, token_ids=[7, 8, 9, 10], block_size_tokens=2
        ),
        BlockRemoved(engine_block_hashes=[1]),
        AllBlocksCleared(),
    ]


def test_tagged_arrays_of_older_versions_are_read() -> None:
    batch = EventDecoder().decode(0, payload(["BlockStored", [3], 2, [1, 1], 2, None, "GPU"], ["BlockRemoved", [3]]))
    assert batch.events == [
        BlockStored(engine_block_hashes=[3], parent_engine_block_hash=2, token_ids=[1, 1], block_size_tokens=2),
        BlockRemoved(engine_block_hashes=[3]),
    ]


def test_byte_hashes_become_their_last_64_bits() -> None:
    event = stored(block_hashes=[bytes(24) + (77).to_bytes(8, "big")], token_ids=[1, 2])
    (read,) = EventDecoder().decode(0, payload(event)).events
    assert isinstance(read, BlockStored)
    assert read.engine_block_hashes == [77]


def test_a_salt_is_known_down_the_chain_until_its_blocks_go() -> None:
    decoder = EventDecoder()
    first = stored(block_hashes=[1], extra_keys=[["salt-a"]])
    child = stored(block_hashes=[2], parent_block_hash=1, extra_keys=[None])
    plain = stored(block_hashes=[9], extra_keys=[None])
    batch = decoder.decode(0, payload(first, child, plain))
    assert [event.cache_salt for event in batch.events if isinstance(event, BlockStored)] == ["salt-a", "salt-a", None]
    decoder.decode(1, payload({"type": "BlockRemoved", "block_hashes": [1, 2]}))
    assert decoder._salts == {}


def test_an_adapters_name_is_no_salt() -> None:
    event = stored(lora_name="tiny", extra_keys=[["tiny"], None])
    (read,) = EventDecoder().decode(0, payload(event)).events
    assert isinstance(read, BlockStored)
    assert (read.lora_name, read.cache_salt) == ("tiny", None)


def test_tiers_have_our_names_and_unknown_events_are_skipped() -> None:
    batch = EventDecoder().decode(0, payload(stored(medium="CPU", token_ids=[]), {"type": "SomethingNew"}))
    assert [event.tier for event in batch.events if isinstance(event, BlockStored)] == ["host"]
    assert len(batch.events) == 1
