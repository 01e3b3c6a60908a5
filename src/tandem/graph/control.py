"""What the supervisor and its processes say to each other, over one inherited socket per process.

supervisor ── Assign ──► process      first, read before anything else happens
supervisor ◄── State ─── process      on every change
supervisor ── Ask ──► process ── Answer ──► supervisor
supervisor ── Stop ──► process        drain, close, exit
"""

import asyncio
import socket
from typing import Literal

import msgspec

from tandem.settings.document import Deployment

Phase = Literal["importing", "loading", "connecting", "starting", "waiting", "ready", "draining"]
What = Literal["metrics", "status", "trace"]
_HEAD = 4
_MAX_BYTES = 64 << 20


class Assign(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """What a process is."""

    name: str
    target: str
    working_dir: str
    only: str | None
    services: tuple[str, ...]
    worker: int
    workers: int = 1
    """How many processes of these services there are."""
    shares_door: bool = False
    """Whether the socket of the front door is inherited, from the supervisor that all of them have it from."""
    deployment: Deployment
    hub_socket: str | None
    """Of the embedded planes: a socket's path, or `host:port` in a group of pods; None when they are not used."""
    system_port: int
    """For the instance cards."""
    depends: dict[str, str] = {}
    log_levels: str = "info"


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Withdraw, let running requests finish for at most this long, exit."""

    drain_timeout_s: float


class Ask(msgspec.Struct, frozen=True, tag=True):
    """A question for the system port."""

    id: int
    what: What
    argument: str = ""


class Answer(msgspec.Struct, frozen=True, tag=True):
    """Its answer: Prometheus text, or JSON. Empty when there is nothing to say."""

    id: int
    body: bytes


class State(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """How far a process is."""

    phase: Phase
    note: str = ""
    """Why it is not ready, or in what way it is degraded."""
    degraded: bool = False
    door: str = ""
    """URL of the front door that this process holds open."""
    models: list[str] = []
    """Names that clients may ask for at the door."""


Message = Assign | Stop | Ask | State | Answer


_DECODER: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def frame(message: Message) -> bytes:
    """A message with its length in front."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(_HEAD, "big") + body


def receive_assign(sock: socket.socket) -> Assign:
    """Read the first message, blocking: nothing runs yet. Raises `EOFError` when the supervisor is gone."""
    body = _exactly(sock, int.from_bytes(_exactly(sock, _HEAD), "big"))
    return msgspec.msgpack.decode(body, type=Assign)


def _exactly(sock: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = sock.recv(size - len(parts))
        if not part:
            raise EOFError("the supervisor is gone")
        parts += part
    return bytes(parts)


class Channel:
    """One end of a control socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, sock: socket.socket) -> "Channel":
        """Take over a connected socket."""
        sock.setblocking(False)
        return cls(*await asyncio.open_unix_connection(sock=sock))

    def send(self, message: Message) -> None:
        """Queue a message; a peer that is gone is noticed by `receive`."""
        if not self._writer.is_closing():
            self._writer.write(frame(message))

    async def receive(self) -> Message | None:
        """The next message; None when the peer is gone."""
        try:
            size = int.from_bytes(await self._reader.readexactly(_HEAD), "big")
            if size > _MAX_BYTES:
                return None
            return _DECODER.decode(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def aclose(self) -> None:
        """Safe to repeat."""
        self._writer.close()
