"""One question to etcd over its HTTP/JSON gateway: endpoints in turn, authentication, time-outs, error translation.

Why the gateway and not gRPC: docs/decisions/0002-etcd-client.md.
"""

import asyncio
import base64
import logging
import ssl
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import msgspec

from tandem.errors import ConfigError, LeaseLost, Unavailable
from tandem.transport.settings import EtcdSettings

log = logging.getLogger(__name__)

Json = dict[str, Any]

_SHORTEST_TRY_S = 1.0
_TRY_ANOTHER = {4, 14}
"""gRPC codes (deadline exceeded, unavailable) of a member that has no quorum or is stopping."""
_UNAUTHENTICATED = 16


class _Refused(Exception):
    """etcd's own answer to a question that it did not fulfil."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def to_wire(value: str | bytes) -> str:
    """Bytes as the gateway spells them."""
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


def from_wire(value: str) -> bytes:
    """The reverse of `to_wire`."""
    return base64.b64decode(value)


def prefix_range(prefix: str) -> Json:
    """`key` and `range_end` that cover every key beginning with `prefix`."""
    start = prefix.encode()
    stem = start.rstrip(b"\xff")
    end = stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\0"
    return {"key": to_wire(start or b"\0"), "range_end": to_wire(end)}


class EtcdGateway:
    """Asks etcd. Opens nothing before the first question."""

    def __init__(self, settings: EtcdSettings) -> None:
        if not settings.endpoints:
            raise ConfigError("no etcd endpoint is given")
        self._settings = settings
        self._endpoints = [(url if "://" in url else f"http://{url}").rstrip("/") for url in settings.endpoints]
        self._current = 0
        self._ssl = _tls(settings)
        self._session: aiohttp.ClientSession | None = None
        self._token: str | None = None
        self._closed = False

    @property
    def described(self) -> str:
        """The endpoints, for messages. No credentials are ever part of them."""
        return ", ".join(self._endpoints)

    async def ask(self, path: str, body: Json, *, repeatable: bool = True) -> Json:
        """The answer of the first endpoint that gives one.

        Args:
            repeatable: whether the question may be put to a second endpoint when the first may have acted on it.

        Raises: `LeaseLost`; `Unavailable` when no endpoint answered in time, or etcd refused.
        """
        reason = ""
        limit_s = max(_SHORTEST_TRY_S, self._settings.request_timeout_s / len(self._endpoints))
        for _ in self._endpoints:
            try:
                return await self._ask_one(self._endpoints[self._current], path, body, limit_s)
            except _Refused as refusal:
                if refusal.code not in _TRY_ANOTHER:
                    raise _translated(refusal) from refusal
                reason, acted = refusal.message, True
            except aiohttp.ClientConnectorError as error:
                reason, acted = str(error.os_error.strerror or error.os_error), False
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                reason, acted = str(error) or type(error).__name__, True
            self._current = (self._current + 1) % len(self._endpoints)
            if acted and not repeatable:
                break
        raise Unavailable(f"etcd at {self.described} does not answer: {reason}")

    async def lines(self, path: str, body: Json) -> AsyncGenerator[Json, None]:
        """The answers to a streaming question, from the current endpoint, until it ends. Raises `Unavailable`."""
        endpoint = self._endpoints[self._current]
        rest = b""
        try:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._settings.request_timeout_s)
            async with self._post(endpoint, path, body, timeout) as response:
                async for chunk in response.content.iter_any():
                    *whole, rest = (rest + chunk).split(b"\n")
                    for line in whole:
                        answer = _object(line)
                        if "error" in answer:
                            raise _refusal(answer)
                        yield answer["result"]
        except _Refused as refusal:
            if refusal.code == _UNAUTHENTICATED:
                self._token = None
            raise _translated(refusal) from refusal
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"etcd at {endpoint} broke off: {str(error) or type(error).__name__}") from error

    async def aclose(self) -> None:
        """Close connections. Safe to repeat."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _ask_one(self, endpoint: str, path: str, body: Json, limit_s: float) -> Json:
        async with asyncio.timeout(limit_s):
            if self._settings.username and self._token is None:
                await self._authenticate(endpoint)
            try:
                return await self._exchange(endpoint, path, body)
            except _Refused as refusal:
                stale = refusal.code == _UNAUTHENTICATED or "invalid auth token" in refusal.message
                if not stale or not self._settings.username:
                    raise
                await self._authenticate(endpoint)
                return await self._exchange(endpoint, path, body)

    async def _authenticate(self, endpoint: str) -> None:
        self._token = None
        who = {"name": self._settings.username, "password": self._settings.password or ""}
        self._token = (await self._exchange(endpoint, "/v3/auth/authenticate", who))["token"]

    async def _exchange(self, endpoint: str, path: str, body: Json) -> Json:
        async with self._post(endpoint, path, body, aiohttp.ClientTimeout(total=None)) as response:
            answer = _object(await response.read())
        if response.status == 404 and not answer:
            raise _Refused(12, f"{endpoint} has no HTTP gateway at {path}")
        if response.status >= 400 or "error" in answer:
            raise _refusal(answer)
        return answer

    def _post(
        self, endpoint: str, path: str, body: Json, timeout: aiohttp.ClientTimeout
    ) -> "aiohttp.client._RequestContextManager":
        if self._closed:
            raise Unavailable("this etcd client is closed")
        if self._session is None:
            # No limit: each watch holds a connection for as long as it lives.
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, ssl=self._ssl))
        headers = {"Authorization": self._token} if self._token else {}
        return self._session.post(endpoint + path, data=msgspec.json.encode(body), headers=headers, timeout=timeout)


def _tls(settings: EtcdSettings) -> ssl.SSLContext | bool:
    if not settings.ca_file and not settings.cert_file:
        return True
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"etcd: a certificate or key file cannot be used: {error}") from error
    return context


def _object(line: bytes) -> Json:
    """An answer; {} for what is no JSON object (a proxy's error page)."""
    try:
        answer = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _refusal(answer: Json) -> _Refused:
    # Unary errors are {"error": text, "code": n}, those inside a stream {"error": {"message": …, "grpc_code": n}}.
    error = answer.get("error", "no reason given")
    inner = error if isinstance(error, dict) else answer
    code = inner.get("code") or inner.get("grpc_code") or 2
    return _Refused(int(code), str(inner.get("message") or error))


def _translated(refusal: _Refused) -> LeaseLost | Unavailable:
    if "requested lease not found" in refusal.message:
        return LeaseLost("etcd knows no such lease")
    if "authentication failed" in refusal.message:
        return Unavailable("etcd refused our user name and password")
    return Unavailable(f"etcd refused: {refusal.message}")
