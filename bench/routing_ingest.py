"""A router taking in what workers tell, from message bytes to the block index. `python -m bench.routing_ingest`.

A thousand workers that tell in turn, each update with so many new blocks: one is decode of a single sequence, 32 a
prefill step. Prints blocks and updates per second of CPU time.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np

from tandem.core.cards import EngineFacts, InstanceCard
from tandem.core.kv_updates import KvChange, KvState, KvUpdate
from tandem.kv.blocks import to_bytes
from tandem.router.kv_rule import KvWeights, kv_rule
from tandem.router.kv_sync import PoolSync
from tandem.router.pool import WorkerPool

WORKERS = 1000
BLOCKS = 400_000


async def _nothing_yet(*_: Any) -> AsyncGenerator[KvState, None]:
    yield KvState(seq=-1)


def _card(number: int) -> InstanceCard:
    facts = EngineFacts(
        engine="simulated", engine_version="1", engine_id=f"{number}", model_path="m", max_model_len=1 << 17,
        block_size_tokens=64, kv_blocks_total=BLOCKS // WORKERS, block_bytes=0, max_num_seqs=256,
        max_num_batched_tokens=8192,
    )  # fmt: skip
    return InstanceCard(
        instance_id=f"{number:016x}", namespace="n", component="c", endpoints=[], address="", engine=facts,
        extra={"kv_updates": "1"},
    )  # fmt: skip


async def measure(blocks_per_update: int) -> dict[str, float]:
    """One load, on a router that is warm and empty."""
    pool = WorkerPool(kv_rule(KvWeights()), 64)
    sync = PoolSync(SimpleNamespace(call=_nothing_yet), "c", lambda _: pool, "r")  # type: ignore[arg-type]
    sync.seen([_card(number) for number in range(WORKERS)])
    async with asyncio.timeout(10):
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not asyncio.current_task()))
    assert sync.warm
    rng, draw, told = np.random.default_rng(1), random.Random(1), [0] * WORKERS
    messages = []
    for _ in range(BLOCKS // blocks_per_update):
        worker = draw.randrange(WORKERS)
        names = to_bytes(rng.integers(1, 2**63, blocks_per_update, np.uint64))
        update = KvUpdate(
            instance_id=f"{worker:016x}", seq=told[worker], changes=[KvChange("stored", "gpu", names)], at=time.time()
        )
        messages.append(msgspec.msgpack.encode(update))
        told[worker] += 1
    decode = msgspec.msgpack.Decoder(KvUpdate).decode
    begun = time.process_time()
    for message in messages:
        sync.told(decode(message))
    spent = time.process_time() - begun
    assert len(pool.index) == BLOCKS // blocks_per_update * blocks_per_update
    return {
        "blocks_per_update": blocks_per_update,
        "blocks_per_s": round(BLOCKS / spent),
        "updates_per_s": round(len(messages) / spent),
    }


if __name__ == "__main__":
    for size in (1, 2, 8, 32):
        print(json.dumps(asyncio.run(measure(size))))
