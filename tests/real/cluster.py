"""Prefill and decode workers over real vLLM engines and real NIXL, a process each, seen from the test's event loop.

    nursery ──fork──► node: EngineWorker over VllmEngine ──fork──► the engine's own process
       ▲ order            ▲ calls, over TCP; store, bus and queue over the hub's socket
       └──────────────── test: hub, client ───────────────────────────────────────────

The prefill node's own `generate` prefills where it decodes (its settings have no remote prefill): the answer
that a remote one is compared with, from an engine that is there anyway.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from tests.real.node import Done, Figures, Held, Hold, KvSeen, LookAtKv, Order

from tandem.core.cards import EngineFacts, InstanceCard, Role
from tandem.core.request import STEP, GenerateOutput, GenerateRequest, TokenLogprobs, expanded
from tandem.core.story import Stage
from tandem.errors import Unavailable
from tandem.runtime.service import ConnectedRuntime, connect
from tandem.runtime.settings import PlaneSettings
from tandem.settings import DisaggSettings
from tandem.testing.cluster import COMPONENTS
from tandem.transport.embedded import EmbeddedHub
from tandem.transport.embedded_host import HubServer
from tandem.worker.service import Nothing

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
MODEL = os.environ.get("TANDEM_TEST_MODEL", str(ROOT / "models" / "tiny-qwen3"))
START_S = 180.0
"""An engine is up in two seconds, and preloaded in eight; this is for a machine that is busy with something else."""


@dataclass(slots=True)
class Answer:
    """A finished stream."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    finish_reason: str | None = None
    stop_token_id: int | None = None
    cached_tokens: int | None = None
    """As the first output said."""
    story: list[Stage] = field(default_factory=list)

    def stages(self) -> list[str]:
        return [stage.name for stage in self.story]

    def stage(self, name: str) -> Stage:
        """The only stage of that name."""
        [found] = [stage for stage in self.story if stage.name == name]
        return found

    @property
    def site(self) -> object:
        """Where its prompt was prefilled."""
        return self.stage("prefill_decision").detail["site"]

    @property
    def first_token_from_prefill(self) -> bool:
        """Whether the prefill worker's first token was the answer's."""
        return "first_token" in self.stages()

    def said(self) -> tuple[list[int], str | None, int | None]:
        """What a client sees of it."""
        return self.tokens, self.finish_reason, self.stop_token_id


class Nursery:
    """The process that forks nodes, as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> "Nursery":
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.real.nursery", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=ROOT,
                stdout=self._log(),
                stderr=subprocess.STDOUT,
            )
        self._socket.settimeout(START_S)
        try:
            assert self._socket.recv(64) == b"preloaded", (self.folder / "nursery.log").read_text()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def fork(self, order: Order) -> int:
        """The new node's process id."""
        self._socket.send(msgspec.msgpack.encode(order))
        return int(self._socket.recv(64))

    def new_folder(self) -> Path:
        """For a cluster's socket and logs."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    def _log(self) -> int:
        return os.open(self.folder / "nursery.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


@dataclass(slots=True)
class RealNode:
    """A worker process."""

    role: Role
    pid: int
    card: InstanceCard
    log: Path
    client: ConnectedRuntime

    @property
    def facts(self) -> EngineFacts:
        assert self.card.engine is not None
        return self.card.engine

    async def figures(self) -> Figures:
        return await self._ask("test_figures", Done(), Figures)

    async def hold(self, where: Held) -> None:
        """From now on, everything waits there."""
        await self._ask("test_hold", Hold(where, True), Done)

    async def let_go(self, where: Held) -> None:
        await self._ask("test_hold", Hold(where, False), Done)

    async def until_held(self, where: Held, count: int = 1) -> None:
        """Return when so many wait there."""
        while (await self.figures()).held.get(where, 0) != count:
            await asyncio.sleep(0.005)

    async def until_computing(self) -> None:
        """Return when its engine says that some of a prompt is computed."""
        while not (await self.figures()).blocks_used:
            await asyncio.sleep(0.002)

    async def until_holding(self) -> None:
        """Return when its engine has allocated blocks to a request, computed or not. Empties the cache until then."""
        while await self.free():
            await asyncio.sleep(0.002)

    async def kv_digests(self, blocks: list[int] | None = None) -> list[str]:
        """Digests of these blocks' bytes, or of every block's."""
        return (await self._ask("test_kv", LookAtKv(blocks), KvSeen)).digests

    async def kv_block(self, block: int) -> bytes:
        return (await self._ask("test_kv", LookAtKv(raw=block), KvSeen)).raw

    async def free(self) -> bool:
        """Whether nothing holds a block. Empties the prefix cache if so."""
        return await self._ask("reset_prefix_cache", Nothing(), bool)

    def alive(self) -> bool:
        return _alive(self.pid)

    async def kill(self) -> None:
        """`kill -9` of the worker; returns when the kernel has taken its engine along."""
        engine = (await self.figures()).engine_pids
        os.kill(self.pid, signal.SIGKILL)
        while any(map(_alive, [self.pid, *engine])):
            await asyncio.sleep(0.005)

    @contextmanager
    def stopped(self, pid: int) -> Iterator[None]:
        """One of its processes does nothing meanwhile: SIGSTOP."""
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    async def _ask(self, endpoint: str, request: Any, answer_type: type[T]) -> T:
        async with aclosing(self.client.call(self.card.address, endpoint, request, answer_type)) as answers:
            return await anext(answers)


class RealCluster:
    """Running nodes; `client` is a connection of its own, like a processor's."""

    def __init__(self, nursery: Nursery, folder: Path, hub: EmbeddedHub, client: ConnectedRuntime) -> None:
        self.client = client
        self.nodes: list[RealNode] = []
        self._nursery = nursery
        self._folder = folder
        self._hub = hub

    @property
    def prefill(self) -> RealNode:
        """The last prefill node that joined."""
        return [node for node in self.nodes if node.role == "prefill"][-1]

    @property
    def decode(self) -> RealNode:
        return [node for node in self.nodes if node.role == "decode"][-1]

    async def join(self, role: Role, disagg: DisaggSettings, **engine_args: Any) -> RealNode:
        """Start one more node and wait until it is announced."""
        view = self.client.instances(COMPONENTS[role])
        log = self._folder / f"{role}-{len(self.nodes)}.log"
        order = Order(
            role=role,
            hub=str(self._folder / "hub.sock"),
            log=str(log),
            model=MODEL,
            engine_args=engine_args,
            disagg={name: getattr(disagg, name) for name in disagg.__dataclass_fields__},
        )
        pid = self._nursery.fork(order)
        end = time.monotonic() + START_S
        while True:
            with contextlib.suppress(Unavailable):
                await view.wait_for(len(view.all()) + 1, timeout_s=0.1)
            if cards := [card for card in view.all() if card.pid == pid]:
                node = RealNode(role, pid, cards[0], log, self.client)
                self.nodes.append(node)
                return node
            assert _alive(pid), f"a {role} worker ended while it started:\n{log.read_text()}"
            assert time.monotonic() < end, f"a {role} worker did not start:\n{log.read_text()}"

    async def leave(self, node: RealNode) -> None:
        """Stop a node in order, or what a test has left of it."""
        self.nodes.remove(node)
        with contextlib.suppress(ProcessLookupError):
            os.kill(node.pid, signal.SIGTERM)
        end = time.monotonic() + 10
        while node.alive():
            if time.monotonic() > end:
                os.kill(node.pid, signal.SIGKILL)
                raise AssertionError(f"a {node.role} worker did not stop:\n{node.log.read_text()}")
            await asyncio.sleep(0.02)

    async def stream(
        self, request: GenerateRequest, *, at: RealNode | None = None
    ) -> AsyncGenerator[GenerateOutput, None]:
        """Ask a node, the decode node by default."""
        async with aclosing(self.client.call((at or self.decode).card.address, "generate", request, STEP)) as steps:
            async for step in steps:
                yield expanded(step)

    async def answer(self, request: GenerateRequest, *, at: RealNode | None = None) -> Answer:
        """The whole answer. Raises what the stream raises."""
        answer = Answer()
        async with aclosing(self.stream(request, at=at)) as outputs:
            async for output in outputs:
                assert answer.finish_reason is None, "something came after the end"
                if answer.cached_tokens is None:
                    answer.cached_tokens = output.cached_tokens
                answer.tokens += output.token_ids
                answer.logprobs += output.logprobs or []
                answer.finish_reason = output.finish_reason
                answer.stop_token_id = output.stop_token_id
                answer.story = output.story or answer.story
        assert answer.finish_reason is not None, "the stream stopped without an end"
        return answer

    async def local(self, request: GenerateRequest) -> Answer:
        """The same request, prefilled and decoded by one engine: the prefill node's."""
        answer = await self.answer(
            msgspec.structs.replace(request, request_id=f"{request.request_id}-local"), at=self.prefill
        )
        assert answer.site == "local"
        return answer

    async def let_all_go(self) -> None:
        """Nothing waits any more, also where a test has failed in between."""
        for node in self.nodes:
            if node.alive():
                await node.let_go("prefill")
                await node.let_go("pull")

    async def waiting_jobs(self) -> int:
        """Jobs in the prefill queue that nobody has taken."""
        queues = self._hub.state.queues
        return sum(depth.waiting for queue in queues.values() for depth in queue.lanes().values())

    async def all_free(self, *, within_s: float = 1.0) -> bool:
        """Whether no living engine holds a block, at the latest after that time."""
        end = time.monotonic() + within_s
        for node in self.nodes:
            while node.alive() and not await node.free():
                if time.monotonic() > end:
                    return False
                await asyncio.sleep(0.01)
        return True


@asynccontextmanager
async def a_real_cluster(
    nursery: Nursery, *, disagg: DisaggSettings | None = None, **engine_args: Any
) -> AsyncIterator[RealCluster]:
    """One prefill and one decode node. Every prompt goes remote, unless `disagg` says otherwise."""
    folder = nursery.new_folder()
    hub = EmbeddedHub()
    server = HubServer(hub, folder / "hub.sock")
    await server.start()
    client = await connect(PlaneSettings(namespace="test", hub=hub))
    cluster = RealCluster(nursery, folder, hub, client)
    rules = disagg or DisaggSettings(remote_prefill=True, ack_wait_s=2.0)
    try:
        await cluster.join("prefill", DisaggSettings(), **engine_args)
        await cluster.join("decode", rules, **engine_args)
        yield cluster
    finally:
        try:
            for node in list(cluster.nodes):
                await cluster.leave(node)
        finally:
            await client.aclose()
            await server.aclose()
            hub.close()


def _alive(pid: int) -> bool:
    """Whether a process, our child or not, still does something: one that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
