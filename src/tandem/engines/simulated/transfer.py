"""How one simulated engine reads another's blocks: a tiny protocol, over TCP or inside the process.

    decode ── {handoff_id, engine_id, skip_blocks} ──► prefill      asks for the contents of the blocks it lacks
    decode ◄── {contents} or {refused} ────────────── prefill
           … the modelled transfer time passes; if the connection breaks meanwhile, the transfer has failed …
    decode ── {done} ───────────────────────────────► prefill       frees the blocks

The connection stays open for as long as the transfer takes, so killing the prefill process really fails it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import msgspec

from tandem.errors import KvTransferFailed

T = TypeVar("T")

_MEMORY = "memory:"
_DIAL_TIMEOUT_S = 5.0
"""As long as vLLM's NIXL connector waits for a handshake."""
_MAX_FRAME_BYTES = 16 << 20


class Pull(msgspec.Struct, frozen=True):
    """The question of a decode engine."""

    handoff_id: str
    engine_id: str
    skip_blocks: int


class Blocks(msgspec.Struct, frozen=True):
    """The answer: contents in prompt order after the skipped ones, or why there are none."""

    contents: list[int] = []
    refused: str = ""


class BlockSource(Protocol):
    """The prefill side, as its side channel sees it."""

    def opened(self, pull: Pull) -> Blocks:
        """Contents for a peer; the blocks stay while it reads."""

    def closed(self, pull: Pull, *, done: bool) -> None:
        """The peer has read them all (`done`), or its connection broke."""


@dataclass(slots=True, eq=False)
class Reading:
    """A transfer under way on the decode side."""

    contents: list[int]
    broken: asyncio.Event


class SideChannel:
    """Where peers of one engine ask for blocks."""

    def __init__(self, source: BlockSource) -> None:
        self._source = source
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._handlers: set[asyncio.Task[object]] = set()
        self.readings: set[Reading] = set()
        self.address = ""

    async def open_tcp(self, host: str) -> None:
        self._server = await asyncio.start_server(self._serve, host, 0)
        self.address = f"{host}:{self._server.sockets[0].getsockname()[1]}"

    def open_memory(self, name: str) -> None:
        """Only for engines of one process: no socket, so it also works on a virtual clock."""
        self.address = _MEMORY + name
        _IN_PROCESS[self.address] = self

    def close(self) -> None:
        """Break every connection, as a killed process would. Safe to repeat."""
        if _IN_PROCESS.get(self.address) is self:
            del _IN_PROCESS[self.address]
        for reading in self.readings:
            reading.broken.set()
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def wait_closed(self) -> None:
        """After `close`: the handlers of broken connections have ended."""
        if self._server is not None:
            await self._server.wait_closed()
        while self._handlers:
            await asyncio.wait(set(self._handlers))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self._writers.add(writer)
        self._handlers.add(handler)
        try:
            pull = await _receive(reader, Pull)
            answer = self._source.opened(pull)
            _send(writer, answer)
            if answer.refused:
                await writer.drain()
                return
            done = False
            try:
                await writer.drain()
                done = await _receive(reader, bool)
            finally:
                self._source.closed(pull, done=done)
        except (OSError, EOFError, msgspec.DecodeError):
            return
        finally:
            self._writers.discard(writer)
            self._handlers.discard(handler)
            writer.close()

    @contextlib.contextmanager
    def read_in_process(self, pull: Pull) -> Iterator[Reading]:
        """The same question without a socket."""
        answer = self._source.opened(pull)
        if answer.refused:
            raise KvTransferFailed(answer.refused)
        reading = Reading(answer.contents, asyncio.Event())
        self.readings.add(reading)
        done = False
        try:
            yield reading
            done = not reading.broken.is_set()
        finally:
            self.readings.discard(reading)
            self._source.closed(pull, done=done)


_IN_PROCESS: dict[str, SideChannel] = {}


@contextlib.asynccontextmanager
async def reading(address: str, pull: Pull) -> AsyncIterator[Reading]:
    """Ask the engine at `address` for blocks; leaving the context without an error tells it that they were read.

    Raises:
        KvTransferFailed: nobody there, refused, or the peer broke off.
    """
    if address.startswith(_MEMORY):
        peer = _IN_PROCESS.get(address)
        if peer is None:
            raise KvTransferFailed(f"the prefill engine at {address} is gone")
        with peer.read_in_process(pull) as found:
            yield found
        return
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(_DIAL_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, int(port))
    except (OSError, ValueError, TimeoutError) as error:
        raise KvTransferFailed(f"the prefill engine at {address} does not answer: {error}") from error
    watch: asyncio.Task[None] | None = None
    try:
        try:
            _send(writer, pull)
            answer = await _receive(reader, Blocks)
        except (OSError, EOFError, msgspec.DecodeError) as error:
            raise KvTransferFailed(f"the prefill engine at {address} broke off") from error
        if answer.refused:
            raise KvTransferFailed(answer.refused)
        found = Reading(answer.contents, asyncio.Event())
        watch = asyncio.create_task(_watch(reader, found.broken), name="simulated-transfer-watch")
        yield found
        if found.broken.is_set():
            raise KvTransferFailed(f"the prefill engine at {address} broke off")
        _send(writer, True)
    finally:
        if watch is not None:
            watch.cancel()
        writer.close()


async def _watch(reader: asyncio.StreamReader, broken: asyncio.Event) -> None:
    with contextlib.suppress(OSError):
        await reader.read(1)
    broken.set()


async def _receive(reader: asyncio.StreamReader, type_: type[T]) -> T:
    length = int.from_bytes(await reader.readexactly(4), "big")
    if length > _MAX_FRAME_BYTES:
        raise msgspec.DecodeError(f"frame of {length} bytes")
    return msgspec.msgpack.decode(await reader.readexactly(length), type=type_)


def _send(writer: asyncio.StreamWriter, message: object) -> None:
    body = msgspec.msgpack.encode(message)
    writer.write(len(body).to_bytes(4, "big") + body)
