"""Tells the routers which blocks this engine holds, and answers those that missed something."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence

import msgspec

from tandem.core.kv_updates import KvChange, KvState, KvStateAsk, KvUpdate, kv_subject
from tandem.engines.ports import Engine
from tandem.kv.ledger import BlockLedger
from tandem.runtime.ports import Runtime

BEAT_S = 1.0
"""A sign of life with the last number: how long a lost update can stay unnoticed. Seconds."""


class KvUpdates:
    """The engine's KV events as numbered updates, one numbering for each data-parallel rank."""

    def __init__(self, engine: Engine, runtime: Runtime, *, components: Sequence[str], model: str) -> None:
        self._engine = engine
        self._runtime = runtime
        self._subjects = [kv_subject(runtime.namespace, component) for component in components]
        self._model = model
        self._encode = msgspec.msgpack.Encoder().encode
        self._ledgers: dict[int, BlockLedger] = {0: self._ledger()}

    async def publish(self) -> None:
        """Follow the engine until cancelled."""
        async with asyncio.TaskGroup() as group:
            beat = group.create_task(self._beat())
            async for batch in self._engine.kv_events():
                ledger = self._ledgers.setdefault(batch.dp_rank, self._ledger())
                changes = ledger.apply(batch)
                if changes:
                    await self._tell(batch.dp_rank, ledger.seq, changes)
            beat.cancel()  # the engine died: its worker follows, and cancels this
            await asyncio.get_running_loop().create_future()

    async def state(self, ask: KvStateAsk) -> AsyncGenerator[KvState, None]:
        """What one rank holds, in parts, as of one number: taken whole before the first part leaves."""
        ledger = self._ledgers.get(ask.dp_rank) or self._ledger()
        seq, parts = ledger.seq, ledger.state()
        for part in parts:
            yield KvState(seq=seq, changes=part)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            for rank, ledger in list(self._ledgers.items()):
                await self._tell(rank, ledger.seq, [])

    async def _tell(self, rank: int, seq: int, changes: list[KvChange]) -> None:
        update = KvUpdate(instance_id=self._runtime.instance_id, seq=seq, changes=changes, dp_rank=rank, at=time.time())
        payload = self._encode(update)
        for subject in self._subjects:
            await self._runtime.bus.publish(subject, payload)

    def _ledger(self) -> BlockLedger:
        return BlockLedger(self._model, self._engine.facts.block_size_tokens)
