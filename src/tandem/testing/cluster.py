"""Prefill and decode workers on simulated engines, in one event loop, over real connections and embedded planes.

async with a_cluster(prefill=2, decode=1) as cluster:
    outputs = await cluster.answer(a_request(prompt=range(400)))
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tandem.core.cards import InstanceCard, Role
from tandem.core.request import STEP, GenerateOutput, GenerateRequest, Sampling, expanded
from tandem.core.story import Stage
from tandem.engines.ports import EngineSpec
from tandem.engines.simulated import SimulatedEngine
from tandem.runtime.service import ConnectedRuntime, connect
from tandem.runtime.settings import PlaneSettings
from tandem.settings import DisaggSettings, WorkerSettings
from tandem.transport.embedded import EmbeddedHub
from tandem.worker.service import EngineWorker

COMPONENTS: dict[Role, str] = {"decode": "VllmWorker", "prefill": "PrefillWorker"}
QUICK: dict[str, Any] = {"block_size": 32, "num_kv_blocks": 512, "speedup": 20.0, "kv_bytes_per_token": 1024}
"""Engine keys under which a test takes milliseconds."""

_numbers = itertools.count(1)


def a_request(
    *, prompt: Sequence[int] = tuple(range(100, 500)), max_tokens: int = 8, request_id: str = "", **sampling: Any
) -> GenerateRequest:
    """Greedy unless told otherwise, 400 prompt tokens unless told otherwise."""
    return GenerateRequest(
        request_id=request_id or f"req-{next(_numbers)}",
        model="model",
        prompt_token_ids=list(prompt),
        sampling=Sampling(max_tokens=max_tokens, **{"temperature": 0.0, **sampling}),
    )


@dataclass(slots=True)
class Answer:
    """A finished stream."""

    tokens: list[int] = field(default_factory=list)
    finish_reason: str | None = None
    story: list[Stage] = field(default_factory=list)

    def stages(self) -> list[str]:
        return [stage.name for stage in self.story]

    def stage(self, name: str) -> Stage:
        """The only stage of that name."""
        [found] = [stage for stage in self.story if stage.name == name]
        return found


@dataclass(slots=True)
class Node:
    """One worker: its engine, its connection, its roles."""

    engine: SimulatedEngine
    runtime: ConnectedRuntime
    worker: EngineWorker

    async def die(self) -> None:
        """Vanish as a killed process does: no withdrawal, no goodbye, connections cut, KV unreadable."""
        self.engine.crash("killed by the test")
        await self.runtime.server.aclose()
        await self.runtime.client.aclose()


class Cluster:
    """A running cluster; `client` is a connection of its own, like a processor's."""

    def __init__(
        self,
        hub: EmbeddedHub,
        client: ConnectedRuntime,
        disagg: DisaggSettings,
        keys: dict[str, Any],
        adapters: dict[str, str],
    ) -> None:
        self.hub = hub
        self.client = client
        self.prefill: list[Node] = []
        self.decode: list[Node] = []
        self._disagg = disagg
        self._keys = keys
        self._adapters = adapters

    async def join(self, *roles: Role, disagg: DisaggSettings | None = None, **engine_args: Any) -> Node:
        """Start one more worker."""
        engine = SimulatedEngine(
            EngineSpec(
                model_path="/models/simulated",
                served_model_name="model",
                roles=roles,
                engine_args={**QUICK, **self._keys, **engine_args},
                adapters=self._adapters,
            )
        )
        worker = EngineWorker(
            engine,
            settings=WorkerSettings(model="/models/simulated", engine="simulated"),
            disagg=disagg or self._disagg,
            components=COMPONENTS,
            roles=roles,
            served_model_name="model",
        )
        await worker.load()
        runtime = await connect(PlaneSettings(namespace="test", hub=self.hub, drain_timeout_s=2.0))
        await worker.start(runtime)
        node = Node(engine, runtime, worker)
        for role, nodes in (("prefill", self.prefill), ("decode", self.decode)):
            if role in roles:
                nodes.append(node)
                await self.client.instances(COMPONENTS[role]).wait_for(len(nodes), timeout_s=5)
        return node

    async def leave(self, node: Node) -> None:
        """Stop a worker in order."""
        await node.worker.stop(2.0)
        await node.runtime.aclose()
        for nodes in (self.prefill, self.decode):
            if node in nodes:
                nodes.remove(node)

    async def stream(self, request: GenerateRequest, *, at: Node | None = None) -> AsyncGenerator[GenerateOutput, None]:
        """Call a decode worker, the first by default."""
        node = at or self.decode[0]
        async with aclosing(self.client.call(node.runtime.server.address, "generate", request, STEP)) as steps:
            async for step in steps:
                yield expanded(step)

    async def answer(self, request: GenerateRequest, *, at: Node | None = None) -> Answer:
        """The whole answer. Raises what the stream raises."""
        answer = Answer()
        async with aclosing(self.stream(request, at=at)) as outputs:
            async for output in outputs:
                assert answer.finish_reason is None, "something came after the end"
                answer.tokens += output.token_ids
                answer.finish_reason = output.finish_reason
                answer.story = output.story or answer.story
        assert answer.finish_reason is not None, "the stream stopped without an end"
        return answer

    def cards(self, role: Role) -> Sequence[InstanceCard]:
        return self.client.instances(COMPONENTS[role]).all()

    async def settled(self, *, within_s: float = 5.0) -> bool:
        """Whether every live engine holds no block within that time."""
        async with asyncio.timeout(within_s):
            for node in {id(n): n for n in (*self.prefill, *self.decode)}.values():
                while not await node.engine.reset_prefix_cache():
                    await asyncio.sleep(0.01)
        return True


@asynccontextmanager
async def a_cluster(
    *,
    prefill: int = 1,
    decode: int = 1,
    disagg: DisaggSettings | None = None,
    adapters: dict[str, str] | None = None,
    **engine_args: Any,
) -> AsyncIterator[Cluster]:
    """A cluster whose every prompt goes remote, unless `disagg` says otherwise."""
    hub = EmbeddedHub()
    client = await connect(PlaneSettings(namespace="test", hub=hub))
    disagg = disagg or DisaggSettings(remote_prefill=True, ack_wait_s=1.0, steal_after_s=0.1)
    cluster = Cluster(hub, client, disagg, engine_args, adapters or {})
    try:
        for _ in range(prefill):
            await cluster.join("prefill")
        for _ in range(decode):
            await cluster.join("decode")
        yield cluster
    finally:
        for node in [*cluster.prefill, *cluster.decode]:
            await cluster.leave(node)
        await client.aclose()
        hub.close()


async def eventually(look: Callable[[], Awaitable[object]], wanted: object, *, within_s: float = 8.0) -> bool:
    """Look again until `wanted` is seen. Raises TimeoutError when it is not."""
    async with asyncio.timeout(within_s):
        while await look() != wanted:
            await asyncio.sleep(0.01)
    return True
