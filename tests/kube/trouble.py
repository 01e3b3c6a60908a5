"""Stands between the operator and the API server, and makes of it a server in trouble.

Every so often an answer is 409, 429 or 503 instead, a connection is dropped before or after the server has acted, or
a watch ends in mid-stream or says that its version is too old (410).
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from tandem.operator.access import Access


class Trouble:
    """What goes wrong, and how often it has. `share` of all calls are in trouble while `on`."""

    def __init__(self, access: Access, seed: int, share: float = 0.15) -> None:
        self.happened: Counter[str] = Counter()
        self.on = True
        self._access, self._share, self._chance = access, share, random.Random(seed)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        watching = "watch" in request.query
        what = self._what(watching, request)
        if what in ("409", "429", "503"):
            body = {"kind": "Status", "reason": what, "code": int(what)}
            headers = {"Retry-After": "0"} if what == "429" else {}
            return web.json_response(body, status=int(what), headers=headers)
        if what == "dropped before":
            return self._drop(request)
        async with self._session.request(
            request.method,
            self._access.server + request.raw_path,
            data=await request.read() or None,
            headers=self._headers(request),
            timeout=aiohttp.ClientTimeout(total=None),
        ) as answer:
            if what == "dropped after":
                await answer.read()
                return self._drop(request)
            headers = {"Content-Type": answer.headers.get("Content-Type", "application/json")}
            if not watching:
                return web.Response(status=answer.status, body=await answer.read(), headers=headers)
            return await self._stream(request, answer, headers, what)

    async def _stream(
        self, request: web.Request, answer: aiohttp.ClientResponse, headers: dict[str, str], what: str
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        ends_s = self._chance.uniform(0.2, 2.0) if what else None
        try:
            async with asyncio.timeout(ends_s):
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
        except ConnectionResetError:
            return response  # the operator ended the watch
        except TimeoutError:
            if what == "410":
                event = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}
                await response.write(json.dumps(event).encode() + b"\n")
            else:
                return self._drop(request)
        return response

    def _what(self, watching: bool, request: web.Request) -> str:
        """Never for the lease, whose loss ends the operator as it should."""
        if not self.on or "/leases" in request.path or self._chance.random() > (0.6 if watching else self._share):
            return ""
        writes = request.method in ("PATCH", "PUT", "POST", "DELETE")
        kinds = ["429", "503", "dropped before", "dropped after", *(["409"] if writes else [])]
        what = self._chance.choice(["410", "dropped"] if watching else kinds)
        self.happened[what] += 1
        return what

    def _drop(self, request: web.Request) -> web.Response:
        """Close the connection; what is returned reaches nobody."""
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    def _headers(self, request: web.Request) -> dict[str, str]:
        token = self._access.static_token
        kept = {name: request.headers[name] for name in ("Content-Type", "Accept") if name in request.headers}
        return {**kept, "Authorization": f"Bearer {token}"}

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """The address to give to the operator."""
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/{tail:.*}", self.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None, handler_cancellation=True)
        connector = aiohttp.TCPConnector(ssl=self._access.ssl_context(), limit=0)
        async with aiohttp.ClientSession(connector=connector) as self._session:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            try:
                yield f"http://127.0.0.1:{runner.addresses[0][1]}"
            finally:
                await runner.cleanup()
