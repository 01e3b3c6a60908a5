"""A worker process of the real cluster: a deployment's own, but a test can hold its engine and look into it."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any, Literal

import msgspec
from tests.real.kv_reader import EXTENSION

from tandem.core.cards import Role
from tandem.core.handoff import Handoff
from tandem.core.request import GenerateOutput, GenerateRequest
from tandem.engines.ports import EngineSpec
from tandem.engines.vllm.engine import VllmEngine
from tandem.observe import metrics
from tandem.runtime.service import ConnectedRuntime, connect
from tandem.runtime.settings import PlaneSettings
from tandem.settings import DisaggSettings, WorkerSettings
from tandem.testing.cluster import COMPONENTS
from tandem.worker.service import EngineWorker

Held = Literal["prefill", "pull"]
"""Where an engine can be made to wait: before it is given a prompt to prefill, or KV to pull."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What the nursery is asked for."""

    role: Role
    hub: str
    log: str
    model: str
    engine_args: dict[str, Any]
    disagg: dict[str, Any]


class Hold(msgspec.Struct, frozen=True):
    """From now on, wait there; or go on."""

    where: Held
    on: bool


class LookAtKv(msgspec.Struct, frozen=True):
    """Digests of these blocks (None: of all), or the bytes of one."""

    blocks: list[int] | None = None
    raw: int | None = None


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a node knows of itself."""

    engine_pids: list[int]
    held: dict[str, int]
    """How many wait where they were told to."""
    blocks_used: int
    fallbacks: dict[str, float]
    """`tandem_fallback_total` by reason."""
    kv_bytes: int
    transfers: int
    failures: int
    handed_over: list[list[int]]
    """The blocks of each hand-off made here, in order of the prompt."""


class KvSeen(msgspec.Struct, frozen=True):
    """Digests in the order asked for, or one block's bytes."""

    digests: list[str] = []
    raw: bytes = b""


class Done(msgspec.Struct, frozen=True):
    """Nothing to say."""


class HeldEngine(VllmEngine):
    """The vLLM adapter, which a test may make wait between two steps of a hand-over."""

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self.handed_over: list[list[int]] = []
        self.held: Counter[str] = Counter()
        self._open: dict[str, asyncio.Event] = {}

    def hold(self, where: Held, on: bool) -> None:
        gate = self._gate(where)
        gate.clear() if on else gate.set()

    async def prefill(
        self, request: GenerateRequest, *, first_token: bool
    ) -> AsyncGenerator[GenerateOutput | Handoff, None]:
        await self._pass("prefill")
        async with aclosing(super().prefill(request, first_token=first_token)) as answers:
            async for answer in answers:
                if isinstance(answer, Handoff):
                    [blocks] = answer.opaque["kv"]["remote_block_ids"]
                    self.handed_over.append(list(blocks))
                yield answer

    async def decode(self, request: GenerateRequest, handoff: Handoff) -> AsyncGenerator[GenerateOutput, None]:
        await self._pass("pull")
        async with aclosing(super().decode(request, handoff)) as outputs:
            async for output in outputs:
                yield output

    async def look_at_kv(self, look: LookAtKv) -> KvSeen:
        llm, kv_blocks = self._engine.llm, self.facts.kv_blocks_total
        if look.raw is not None:
            [raw] = await llm.collective_rpc("kv_block", args=(look.raw, kv_blocks))
            return KvSeen(raw=raw)
        [digests] = await llm.collective_rpc("kv_digests", args=(look.blocks, kv_blocks))
        return KvSeen(digests=digests)

    async def _pass(self, where: Held) -> None:
        self.held[where] += 1
        try:
            await self._gate(where).wait()
        finally:
            self.held[where] -= 1

    def _gate(self, where: Held) -> asyncio.Event:
        if where not in self._open:
            self._open[where] = asyncio.Event()
            self._open[where].set()
        return self._open[where]


class Node:
    """The engine's worker, connected, and what a test may ask of it."""

    def __init__(self, order: Order) -> None:
        self._engine = HeldEngine(
            EngineSpec(
                model_path=order.model,
                served_model_name="model",
                roles=("prefill", "decode"),
                engine_args={"worker_extension_cls": EXTENSION, **order.engine_args},
            )
        )
        self._hub = order.hub
        self._worker = EngineWorker(
            self._engine,
            settings=WorkerSettings(model=order.model),
            disagg=DisaggSettings(**order.disagg),
            components=COMPONENTS,
            roles=(order.role,),
            served_model_name="model",
        )

    async def serve(self) -> None:
        stop = asyncio.Event()
        await self._worker.load()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        runtime = await connect(PlaneSettings(namespace="test", hub=Path(self._hub), drain_timeout_s=2.0))
        self._answer_tests(runtime)
        await self._worker.start(runtime)
        await stop.wait()
        await self._worker.stop(2.0)
        await runtime.aclose()

    def _answer_tests(self, runtime: ConnectedRuntime) -> None:
        async def figures(_: Done) -> AsyncGenerator[Figures, None]:
            totals, load = self._engine.transfer_totals(), self._engine.load_report()
            yield Figures(
                engine_pids=self._engine.process_ids,
                held=dict(self._engine.held),
                blocks_used=load.kv_blocks_used,
                fallbacks={reason: child.value for (reason,), child in metrics.FALLBACKS.children.items()},
                kv_bytes=totals.kv_bytes,
                transfers=totals.transfers,
                failures=totals.failures,
                handed_over=self._engine.handed_over,
            )

        async def hold(order: Hold) -> AsyncGenerator[Done, None]:
            self._engine.hold(order.where, order.on)
            yield Done()

        async def look(order: LookAtKv) -> AsyncGenerator[KvSeen, None]:
            yield await self._engine.look_at_kv(order)

        runtime.serve("test_figures", Done, Figures, figures)
        runtime.serve("test_hold", Hold, Done, hold)
        runtime.serve("test_kv", LookAtKv, KvSeen, look)


def run(order: Order) -> None:
    """The rest of a forked process's life."""
    with contextlib.suppress(OSError):
        os.setsid()
    log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s", force=True)
    warnings.simplefilter("ignore")
    status = 0
    try:
        asyncio.run(Node(order).serve())
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
