"""An HTTP server that answers as told: for what a healthy API server does not do on demand."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Answer = tuple[int, Any] | list[Any] | str
"""(status, body); a list: lines of a watch; "drop": the connection is closed."""


class FakeServer:
    """Answers each path's calls from its list, the last answer for ever."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.calls: list[tuple[str, str]] = []

    def on(self, path: str, *answers: Answer) -> None:
        self.answers[path] = list(answers)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        watching = "watch" in request.query
        path = request.path + ("?watch" if watching else "")
        self.calls.append((request.method, path))
        waiting = self.answers.get(path, [(404, {"reason": "NotFound", "message": f"no {path}"})])
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if answer == "drop":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if isinstance(answer, list):
            response = web.StreamResponse()
            await response.prepare(request)
            for line in answer:
                await response.write(json.dumps(line).encode() + b"\n")
            return response
        assert isinstance(answer, tuple)
        status, body = answer
        headers = {"Retry-After": "1"} if status == 429 else {}
        return web.json_response(body, status=status, headers=headers)


@asynccontextmanager
async def serving(fake: FakeServer) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", fake.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield site.name if ":0" not in site.name else f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
        await asyncio.sleep(0.05)  # aborted connections close in the next turns of the loop
