"""KV events of a vLLM engine: read from its ZeroMQ publisher, gaps filled from its replay socket.

Frames are [topic, seq, payload]; the payload is MessagePack of [time, [event, …], rank]. An event is a
map with a `type`, or in older versions an array that begins with it.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec

from tandem.core.kv_events import AllBlocksCleared, BlockRemoved, BlockStored, KvEvent, KvEventBatch

_STORED = (
    "block_hashes",
    "parent_block_hash",
    "token_ids",
    "block_size",
    "lora_id",
    "medium",
    "lora_name",
    "extra_keys",
)
_REMOVED = ("block_hashes", "medium")
_TIERS = {"GPU": "gpu", "CPU": "host", "STORAGE": "disk", "FS": "disk", "OBJ": "remote"}
EVENTS = "inproc-events"
REPLAY = "inproc-replay"
"""Names of the sockets. vLLM adds a rank to addresses that hold the word `inproc`, and to TCP ports; to no others."""
_WAITING = 64
"""Batches read and not taken yet."""
_REPLAY_S = 1.0
"""Longest wait for a replayed batch."""
_SETTLE_S = 0.3
"""After subscribing: by then batches arrive, so one more replay leaves no gap in between."""


class EventDecoder:
    """Payloads of one rank to our batches. Remembers salted blocks, for only a chain's first block names its salt."""

    def __init__(self) -> None:
        self._salts: dict[int, str] = {}

    def decode(self, seq: int, payload: bytes) -> KvEventBatch:
        batch = msgspec.msgpack.decode(payload)
        events = [event for event in (self._event(raw) for raw in batch[1]) if event is not None]
        return KvEventBatch(seq=seq, events=events, dp_rank=int(batch[2] or 0) if len(batch) > 2 else 0)

    def _event(self, raw: Any) -> KvEvent | None:
        if isinstance(raw, dict):
            kind, found = raw.get("type"), raw
        else:
            kind = raw[0]
            found = dict(zip(_STORED if kind == "BlockStored" else _REMOVED, raw[1:], strict=False))
        tier = _TIERS.get(found.get("medium") or "GPU", "gpu")
        if kind == "AllBlocksCleared":
            self._salts.clear()
            return AllBlocksCleared()
        if kind not in ("BlockStored", "BlockRemoved"):
            return None
        hashes = [_as_int(value) for value in found["block_hashes"]]
        if kind == "BlockRemoved":
            for value in hashes:
                self._salts.pop(value, None)
            return BlockRemoved(engine_block_hashes=hashes, tier=tier)
        parent = found.get("parent_block_hash")
        parent = None if parent is None else _as_int(parent)
        salt = _salt(found) or (self._salts.get(parent) if parent is not None else None)
        if salt is not None:
            self._salts.update(dict.fromkeys(hashes, salt))
        return BlockStored(
            engine_block_hashes=hashes,
            parent_engine_block_hash=parent,
            token_ids=list(found.get("token_ids") or ()),
            block_size_tokens=int(found.get("block_size") or 0),
            tier=tier,
            lora_name=found.get("lora_name"),
            cache_salt=salt,
        )


def _as_int(value: int | bytes) -> int:
    return value if isinstance(value, int) else int.from_bytes(value[-8:], "big")


def _salt(found: dict[str, Any]) -> str | None:
    """The first block's extra key that is neither tagged nor the adapter's name."""
    keys = found.get("extra_keys") or [None]
    for key in keys[0] or ():
        if isinstance(key, str) and key != found.get("lora_name"):
            return key
        if isinstance(key, list | tuple) and len(key) == 2 and key[0] == "cache_salt":
            return str(key[1])
    return None


async def read_events(endpoint: str, replay_endpoint: str, *, ranks: int = 1) -> AsyncGenerator[KvEventBatch, None]:
    """All batches that the engine still has, then each new one; in order within each data-parallel rank."""
    import zmq.asyncio

    context = zmq.asyncio.Context()
    found: asyncio.Queue[KvEventBatch | Exception] = asyncio.Queue(_WAITING)

    async def read(rank: int) -> None:
        suffix = f"_dp{rank}" if rank else ""
        try:
            async with aclosing(_read_rank(context, endpoint + suffix, replay_endpoint + suffix)) as batches:
                async for batch in batches:
                    await found.put(batch)
        except Exception as error:  # for the reader, who raises it
            await found.put(error)

    readers = [asyncio.create_task(read(rank)) for rank in range(ranks)]
    try:
        while True:
            batch = await found.get()
            if isinstance(batch, Exception):
                raise batch
            yield batch
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        context.destroy(linger=0)


async def _read_rank(context: Any, endpoint: str, replay_endpoint: str) -> AsyncGenerator[KvEventBatch, None]:
    import zmq

    socket = context.socket(zmq.SUB)
    socket.set_hwm(0)
    socket.subscribe(b"")
    socket.connect(endpoint)
    decoder, next_seq = EventDecoder(), 0
    try:
        for pause in (0.0, _SETTLE_S):
            await asyncio.sleep(pause)
            async for seq, payload in _replay(context, replay_endpoint, next_seq):
                yield decoder.decode(seq, payload)
                next_seq = seq + 1
        while True:
            _, raw, payload = await socket.recv_multipart()
            seq = int.from_bytes(raw, "big")
            if seq > next_seq:
                async for missed, old in _replay(context, replay_endpoint, next_seq):
                    if next_seq <= missed < seq:
                        yield decoder.decode(missed, old)
                        next_seq = missed + 1
            if seq >= next_seq:
                yield decoder.decode(seq, payload)
                next_seq = seq + 1
    finally:
        socket.close(linger=0)


async def _replay(context: Any, endpoint: str, start: int) -> AsyncIterator[tuple[int, bytes]]:
    """Batches from `start` on that the publisher keeps (the last 10,000)."""
    import zmq

    socket = context.socket(zmq.DEALER)
    socket.connect(endpoint)
    try:
        await socket.send_multipart([b"", start.to_bytes(8, "big")])
        while await socket.poll(_REPLAY_S * 1000):
            frames = await socket.recv_multipart()
            seq = int.from_bytes(frames[-2], "big", signed=True)
            if seq < 0:
                return
            yield seq, frames[-1]
    finally:
        socket.close(linger=0)
