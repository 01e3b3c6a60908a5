"""`@api` endpoints over HTTP: POST /{name} with a JSON body, on the port of the service's own section.

A coroutine answers with JSON; a generator with server-sent events, a JSON value each, and `[DONE]` at the end.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any

import msgspec

from tandem.errors import RequestError, ServingError
from tandem.graph.clients import Signature, answers, plain, typed

_MAX_BODY_BYTES = 16 * 1024 * 1024


class HttpApi:
    """An ASGI application over endpoints."""

    def __init__(self, methods: Mapping[str, Callable[..., Any]], enter: Callable[[], None]) -> None:
        self._methods = methods
        self._enter = enter

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        method = self._methods.get(scope["path"].strip("/"))
        if method is None or scope["method"] != "POST":
            await _answer(send, 404, {"error": {"message": f"POST one of {', '.join(self._methods)}"}})
            return
        self._enter()
        started = False
        try:
            request = typed(await _body(receive), Signature.of(method).request)
            if not inspect.isasyncgenfunction(method):
                async with aclosing(answers(method, request)) as stream:
                    await _answer(send, 200, plain(await anext(stream)))
                return
            async with aclosing(answers(method, request)) as stream:
                async for answer in stream:
                    if not started:
                        started = True
                        await _start(send, 200, b"text/event-stream")
                    await _send(send, b"data: " + msgspec.json.encode(plain(answer)) + b"\n\n")
            if not started:
                await _start(send, 200, b"text/event-stream")
            await _send(send, b"data: [DONE]\n\n", last=True)
        except ServingError as error:
            body = {"error": {"message": str(error), "code": error.code}}
            if started:
                await _send(send, b"data: " + json.dumps(body).encode() + b"\n\n", last=True)
            else:
                await _answer(send, 400 if isinstance(error, RequestError) else 503, body)


async def _body(receive: Any) -> Any:
    data = b""
    while True:
        event = await receive()
        data += event.get("body", b"")
        if len(data) > _MAX_BODY_BYTES:
            raise RequestError(f"the body is over {_MAX_BODY_BYTES} bytes")
        if not event.get("more_body"):
            break
    try:
        return json.loads(data) if data else None
    except ValueError as error:
        raise RequestError(f"the body is not JSON: {error}") from error


async def _answer(send: Any, status: int, value: Any) -> None:
    await _start(send, status, b"application/json")
    await _send(send, msgspec.json.encode(value), last=True)


async def _start(send: Any, status: int, kind: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})


async def _send(send: Any, body: bytes, *, last: bool = False) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": not last})
