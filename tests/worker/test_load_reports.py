"""Load reports: soon after work begins, while it runs, and a sign of life when nothing happens."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from tandem.core.load import LoadReport
from tandem.engines.ports import EngineLoad, TransferTotals
from tandem.worker.load import REPEAT_EVERY, Activity, publish_load

INTERVAL_S = 0.02


class Engine:
    """Counts how often it is looked at."""

    def __init__(self) -> None:
        self.running = 0
        self.looks = 0

    def load_report(self) -> EngineLoad:
        self.looks += 1
        return EngineLoad(running=self.running, waiting=0, kv_blocks_used=0, kv_blocks_total=8)

    def transfer_totals(self) -> TransferTotals:
        return TransferTotals()


@dataclass
class Bus:
    """Keeps what is published."""

    connected: bool = True
    reports: list[LoadReport] = field(default_factory=list)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    async def publish(self, subject: str, payload: bytes) -> None:
        self.reports.append(msgspec.msgpack.decode(payload, type=LoadReport))
        self.told.set()


@dataclass
class Runtime:
    """As much of one as reports need."""

    bus: Bus
    instance_id: str = "w"
    namespace: str = "n"


class Publishing:
    """`publish_load` at work."""

    def __init__(self) -> None:
        self.engine, self.bus, self.activity = Engine(), Bus(), Activity()

    async def __aenter__(self) -> "Publishing":
        engine: Any = self.engine
        runtime: Any = Runtime(self.bus)
        self._task = asyncio.create_task(
            publish_load(engine, runtime, ["C"], activity=self.activity, interval_s=INTERVAL_S)
        )
        await asyncio.wait_for(self.bus.told.wait(), 1)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})


async def test_an_idle_engine_is_left_alone_but_its_report_is_repeated() -> None:
    async with Publishing() as at:
        await asyncio.sleep(2.5 * REPEAT_EVERY * INTERVAL_S)
        assert [report.running for report in at.bus.reports] == [0, 0, 0]
        assert at.engine.looks == 3


@pytest.mark.parametrize("kind", ["request", "job"])
async def test_work_that_begins_is_reported_within_an_interval_or_two(kind: str) -> None:
    async with Publishing() as at:
        at.bus.told.clear()
        began = asyncio.get_running_loop().time()
        with getattr(at.activity, kind)():
            await asyncio.sleep(0)
            at.engine.running = 1  # an engine learns of a request a little later than its worker
            await asyncio.wait_for(at.bus.told.wait(), 1)
        assert at.bus.reports[-1].running == 1
        assert asyncio.get_running_loop().time() - began < REPEAT_EVERY * INTERVAL_S / 2
        at.engine.running = 0
        at.bus.told.clear()
        await asyncio.wait_for(at.bus.told.wait(), 1)
        assert at.bus.reports[-1].running == 0, "the end is told too"


async def test_a_bus_that_comes_back_hears_at_once() -> None:
    async with Publishing() as at:
        at.bus.connected, at.bus.reports = False, []
        await asyncio.sleep(1.5 * REPEAT_EVERY * INTERVAL_S)
        assert at.bus.reports == []
        at.bus.told.clear()
        at.bus.connected = True
        await asyncio.wait_for(at.bus.told.wait(), 3 * INTERVAL_S)
