"""Bytes ↔ frames of the request plane.

    connection = hello, then frames        frame = length (4 bytes, big endian) · MessagePack array
    hello      = ["tandem", version, identity], at most 512 bytes, both sides
    frame      = [kind, …]: one struct below each

The first four bytes of anything that is not ours (HTTP, TLS, noise) read as a length far over the
hello's limit, so it is known as foreign before anything is stored or decoded.
"""

import struct
from collections.abc import Sequence

import msgspec

MAGIC = "tandem"
PROTOCOL = 2
HELLO_LIMIT = 512
_LENGTH = struct.Struct(">I")


class NotOurs(Exception):
    """These bytes are no frame of ours. Ends the one connection they came on."""


class Hello(msgspec.Struct, array_like=True, frozen=True):
    """Who speaks, and in which version."""

    magic: str
    version: int
    identity: str = ""
    """Instance id of the listener, so that a reused port is not mistaken for the instance that had it."""


class Open(msgspec.Struct, array_like=True, tag=1, frozen=True):
    """Caller: begin a call."""

    stream: int
    endpoint: str
    payload: bytes
    request_id: str = ""
    deadline: float | None = None
    headers: dict[str, str] = {}
    window_items: int = 256
    window_bytes: int = 1 << 20


class Items(msgspec.Struct, array_like=True, tag=2, frozen=True, gc=False):
    """Callee: the next payloads of any number of streams: one frame for all that a turn of the loop has to send."""

    streams: list[int]
    """Whose each payload is; a stream's payloads are in order."""
    payloads: list[bytes]


class End(msgspec.Struct, array_like=True, tag=3, frozen=True, gc=False):
    """Callee: the answer is complete."""

    stream: int


class Error(msgspec.Struct, array_like=True, tag=4, frozen=True, gc=False):
    """Callee: the answer ends with a failure; the fields are those of `errors.error_from_wire`."""

    stream: int
    code: str
    message: str
    retry: str = "never"
    param: str | None = None
    retry_after_s: float | None = None
    origin: str = ""


class Cancel(msgspec.Struct, array_like=True, tag=5, frozen=True, gc=False):
    """Caller: nobody reads this stream any more."""

    stream: int


class Credit(msgspec.Struct, array_like=True, tag=6, frozen=True, gc=False):
    """Caller: so much more may be sent on this stream."""

    stream: int
    items: int
    bytes: int


class Ping(msgspec.Struct, array_like=True, tag=7, frozen=True, gc=False):
    """Are you there?"""


class Pong(msgspec.Struct, array_like=True, tag=8, frozen=True, gc=False):
    """Yes."""


Frame = Open | Items | End | Error | Cancel | Credit | Ping | Pong

_encoder = msgspec.msgpack.Encoder()
_hello_decoder = msgspec.msgpack.Decoder(Hello)
_frame_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


def append_frame(buffer: bytearray, frame: Frame | Hello) -> None:
    """Encode `frame` with its length at the end of `buffer`."""
    start = len(buffer)
    _encoder.encode_into(frame, buffer, start + 4)
    _LENGTH.pack_into(buffer, start, len(buffer) - start - 4)


def encode_frames(frames: Sequence[Frame | Hello]) -> bytearray:
    """All `frames`, ready for one write."""
    buffer = bytearray()
    for frame in frames:
        append_frame(buffer, frame)
    return buffer


class FrameReader:
    """Collects the bytes of one connection and hands out whole frames; the first one is the peer's hello."""

    def __init__(self, max_frame_bytes: int) -> None:
        self.hello: Hello | None = None
        self._limit = max_frame_bytes
        self._rest = bytearray()

    def feed(self, data: bytes | bytearray) -> list[Frame]:
        """Frames completed by `data`. Raises `NotOurs`; the reader is of no use after that."""
        if self._rest:
            self._rest += data
            data = self._rest
        frames: list[Frame] = []
        at, size = 0, len(data)
        with memoryview(data) as view:
            while size - at >= 4:
                (length,) = _LENGTH.unpack_from(view, at)
                limit = HELLO_LIMIT if self.hello is None else self._limit
                if length > limit:
                    what = "frame" if self.hello else "hello"
                    raise NotOurs(f"{what} of {length} bytes announced, at most {limit} allowed")
                if size - at - 4 < length:
                    break
                with view[at + 4 : at + 4 + length] as body:
                    self._decode(body, frames)
                at += 4 + length
        if data is self._rest:
            del self._rest[:at]
        else:
            self._rest += data[at:]
        return frames

    def _decode(self, body: memoryview, frames: list[Frame]) -> None:
        try:
            if self.hello is not None:
                frames.append(_frame_decoder.decode(body))
                return
            hello = _hello_decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            # ValidationError, its subclass, quotes paths and types, never values.
            raise NotOurs(f"frame does not decode: {error}") from None
        if hello.magic != MAGIC:
            raise NotOurs("hello of another protocol")
        self.hello = hello
