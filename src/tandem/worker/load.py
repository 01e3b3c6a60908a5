"""Tells the routers how busy this engine is."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import msgspec

from tandem.core.load import LoadReport, load_subject
from tandem.engines.ports import Engine
from tandem.observe import metrics
from tandem.runtime.ports import Runtime

REPEAT_EVERY = 10
"""An unchanged report is sent every so many intervals: enough for a router that starts later, cheap when idle."""


class Activity:
    """Requests and jobs under way, so that nobody need look at a worker that has none."""

    def __init__(self) -> None:
        self.requests = 0
        self.jobs = 0
        self._begun = asyncio.Event()

    @property
    def some(self) -> bool:
        """Whether anything is under way."""
        return bool(self.requests or self.jobs)

    @contextmanager
    def request(self) -> Iterator[None]:
        """Around a request, in the decode role."""
        self.requests += 1
        self._begun.set()
        try:
            yield
        finally:
            self.requests -= 1

    @contextmanager
    def job(self) -> Iterator[None]:
        """Around a job, in the prefill role."""
        self.jobs += 1
        self._begun.set()
        try:
            yield
        finally:
            self.jobs -= 1

    async def begins(self, timeout_s: float) -> None:
        """Return when something is under way, or after `timeout_s`."""
        if not self.some:
            self._begun.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._begun.wait()
            except TimeoutError:
                pass


async def publish_load(
    engine: Engine, runtime: Runtime, components: Iterable[str], *, activity: Activity, interval_s: float
) -> None:
    """Publish on every component's subject until cancelled, when something changed or was last said long ago.

    Looks at the engine every `interval_s` while it has work or holds blocks, else when work begins.
    """
    encode = msgspec.msgpack.Encoder().encode
    repeat_s = REPEAT_EVERY * interval_s
    said, said_at, kv_bytes = None, 0.0, 0
    while True:
        received = engine.transfer_totals().kv_bytes
        metrics.KV_TRANSFER_BYTES.inc(received - kv_bytes)
        kv_bytes = received
        load, now = engine.load_report(), time.monotonic()
        if (load != said or now - said_at >= repeat_s) and runtime.bus.connected:
            said, said_at = load, now
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
        if activity.some or load.running or load.waiting or load.kv_blocks_used or not runtime.bus.connected:
            await asyncio.sleep(interval_s)
        else:
            await activity.begins(repeat_s)
