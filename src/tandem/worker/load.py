"""Tells the routers how busy this engine is."""

import asyncio
import time
from collections.abc import Iterable

import msgspec

from tandem.core.load import LoadReport, load_subject
from tandem.engines.ports import Engine
from tandem.observe import metrics
from tandem.runtime.ports import Runtime

REPEAT_EVERY = 10
"""An unchanged report is sent every so many intervals: enough for a router that starts later, cheap when idle."""


async def publish_load(engine: Engine, runtime: Runtime, components: Iterable[str], *, interval_s: float) -> None:
    """Publish on every component's subject until cancelled, when something changed or was last said long ago."""
    encode = msgspec.msgpack.Encoder().encode
    said, unchanged, kv_bytes = None, 0, 0
    while True:
        received = engine.transfer_totals().kv_bytes
        metrics.KV_TRANSFER_BYTES.inc(received - kv_bytes)
        kv_bytes = received
        load = engine.load_report()
        unchanged = unchanged + 1 if load == said else 0
        if unchanged % REPEAT_EVERY == 0 and runtime.bus.connected:
            said = load
            metrics.ENGINE_RUNNING.set(load.running)
            metrics.ENGINE_WAITING.set(load.waiting)
            metrics.KV_BLOCKS_USED.set(load.kv_blocks_used)
            metrics.KV_BLOCKS_CAPACITY.set(load.kv_blocks_total)
            report = LoadReport(
                instance_id=runtime.instance_id,
                running=load.running,
                waiting=load.waiting,
                kv_blocks_used=load.kv_blocks_used,
                kv_blocks_total=load.kv_blocks_total,
                waiting_prefill_tokens=load.waiting_prefill_tokens,
                at=time.time(),
            )
            for component in components:
                await runtime.bus.publish(load_subject(runtime.namespace, component), encode(report))
        await asyncio.sleep(interval_s)
