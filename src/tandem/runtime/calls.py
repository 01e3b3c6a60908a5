"""Typed calls and handlers: MessagePack of the given types over the request plane's bytes."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Any, Generic, Self, TypeVar

import msgspec

from tandem.errors import InstanceLost, ProtocolMismatch
from tandem.transport.ports import CallContext, CallStream, Handler

Req = TypeVar("Req")
Resp = TypeVar("Resp")

TypedHandler = Callable[[Req], AsyncGenerator[Resp, None]]

_current: ContextVar[CallContext] = ContextVar("tandem_call")


def current_call() -> CallContext:
    """The call that this handler answers. Raises `LookupError` outside of a handler."""
    return _current.get()


_encoder = msgspec.msgpack.Encoder()


def pusher() -> Callable[[Any], bool]:
    """`CallContext.push` of the call that this handler answers, for values. Raises `LookupError` outside of one."""
    push, encode = current_call().push, _encoder.encode
    return lambda answer: push(encode(answer))


_decoders: dict[Any, msgspec.msgpack.Decoder[Any]] = {}
"""One per type that is called or served: a handful."""


def _decoder(of: Any) -> msgspec.msgpack.Decoder[Any]:
    if (found := _decoders.get(of)) is None:
        found = _decoders[of] = msgspec.msgpack.Decoder(of)
    return found


def _decode(of: type[Resp], payload: bytes, what: str) -> Resp:
    try:
        decoded: Resp = _decoder(of).decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolMismatch(f"{what} does not decode: {error}") from None
    return decoded


def typed_handler(request_type: type[Req], handle: TypedHandler[Req, Resp]) -> Handler:
    """A handler of bytes around one of values. Raises `ProtocolMismatch` to a caller whose request does not decode."""

    async def handler(payload: bytes, context: CallContext) -> AsyncGenerator[bytes, None]:
        # Each call is a task of its own, so this is seen by this handler only.
        _current.set(context)
        answers = handle(_decode(request_type, payload, f"request to {context.endpoint}"))
        encode = _encoder.encode
        try:
            async for answer in answers:
                yield encode(answer)
        finally:
            await answers.aclose()

    return handler


class TypedAnswers(Generic[Resp]):
    """The answers of one call, decoded. The call is made when the first one is asked for. Implements `ports.Answers`.

    Args:
        call: makes the call.
        lost: told when the instance is found dead.
    """

    __slots__ = ("_call", "_decode", "_endpoint", "_lost", "_stream")

    def __init__(
        self,
        call: Callable[[], Awaitable[CallStream]],
        endpoint: str,
        response_type: type[Resp],
        lost: Callable[[], None],
    ) -> None:
        self._call: Callable[[], Awaitable[CallStream]] | None = call
        self._endpoint = endpoint
        self._decode: Callable[[bytes], Resp] = _decoder(response_type).decode
        self._lost = lost
        self._stream: CallStream | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Resp:
        try:
            stream = self._stream or await self._open()
            return self._decode(await anext(stream))
        except InstanceLost:
            self._lost()
            raise
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._undecodable(error) from None

    async def relay(self, take: Callable[[Sequence[Resp]], int]) -> None:
        """See `ports.Answers.relay`."""
        decode = self._decode
        try:
            stream = self._stream or await self._open()
            await stream.relay(lambda payloads: take([decode(payload) for payload in payloads]))
        except InstanceLost:
            self._lost()
            raise
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._undecodable(error) from None

    async def aclose(self) -> None:
        """Cancel the call if it still runs. Safe to repeat."""
        self._call = None
        if self._stream is not None:
            await self._stream.aclose()

    async def _open(self) -> CallStream:
        call, self._call = self._call, None
        if call is None:
            raise StopAsyncIteration
        self._stream = await call()
        return self._stream

    def _undecodable(self, error: Exception) -> ProtocolMismatch:
        return ProtocolMismatch(f"answer of {self._endpoint} does not decode: {error}")


def encoded(request: object) -> bytes:
    """A request as it travels."""
    return _encoder.encode(request)
