"""Typed calls and handlers: MessagePack of the given types over the request plane's bytes."""

from collections.abc import AsyncGenerator, Callable
from contextvars import ContextVar
from typing import Any, TypeVar

import msgspec

from tandem.errors import ProtocolMismatch
from tandem.transport.ports import CallContext, Handler, RequestClient

Req = TypeVar("Req")
Resp = TypeVar("Resp")

TypedHandler = Callable[[Req], AsyncGenerator[Resp, None]]

_current: ContextVar[CallContext] = ContextVar("tandem_call")


def current_call() -> CallContext:
    """The call that this handler answers. Raises `LookupError` outside of a handler."""
    return _current.get()


_encoder = msgspec.msgpack.Encoder()


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


async def typed_call(
    client: RequestClient,
    address: str,
    endpoint: str,
    request: object,
    response_type: type[Resp],
    *,
    request_id: str,
    deadline: float | None,
    headers: dict[str, str] | None,
) -> AsyncGenerator[Resp, None]:
    """Call and decode each answer. Closing the generator cancels the call."""
    payload = _encoder.encode(request)
    stream = await client.call(address, endpoint, payload, request_id=request_id, deadline=deadline, headers=headers)
    decode = _decoder(response_type).decode
    try:
        async for answer in stream:
            try:
                yield decode(answer)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ProtocolMismatch(f"answer of {endpoint} does not decode: {error}") from None
    finally:
        await stream.aclose()
