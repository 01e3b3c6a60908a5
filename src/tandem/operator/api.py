"""The API server over HTTP: apply, read, list, watch, delete. Plain dictionaries in and out.

Small on purpose: server-side apply and label-filtered watches are all that the operator needs, and no typed model of
every Kubernetes release. What the server answers for a while (429, 5xx, a broken connection) is tried again here;
what needs a new decision (404, 409, 422) is raised.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import orjson

from tandem.operator.access import Access
from tandem.operator.labels import FIELD_MANAGER, GROUP
from tandem.operator.types import Raw

logger = logging.getLogger(__name__)

APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
_TRIES: Final = 6
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 10.0
_WATCH_S: Final = 280

RESOURCES: Final[dict[str, tuple[str, str]]] = {
    "StatefulSet": ("apps/v1", "statefulsets"),
    "Deployment": ("apps/v1", "deployments"),
    "ControllerRevision": ("apps/v1", "controllerrevisions"),
    "LeaderWorkerSet": ("leaderworkerset.x-k8s.io/v1", "leaderworkersets"),
    "Service": ("v1", "services"),
    "ConfigMap": ("v1", "configmaps"),
    "Secret": ("v1", "secrets"),
    "Pod": ("v1", "pods"),
    "Event": ("v1", "events"),
    "Lease": ("coordination.k8s.io/v1", "leases"),
    "RoleBasedGroup": (f"{GROUP}/v1alpha1", "rolebasedgroups"),
    "RoleBasedGroupSet": (f"{GROUP}/v1alpha1", "rolebasedgroupsets"),
    "RoleBasedGroupScalingAdapter": (f"{GROUP}/v1alpha1", "rolebasedgroupscalingadapters"),
    "ClusterEngineRuntimeProfile": (f"{GROUP}/v1alpha1", "clusterengineruntimeprofiles"),
}
"""kind → (apiVersion, plural). PodGroup exists in two API groups, so its apiVersion is always given."""


STRANGE = "StrangeAnswer"
"""Reason of an `ApiError`: the answer is no JSON object, so whoever gave it is no API server."""


class ApiError(Exception):
    """The server refused: `status` is HTTP's, `reason` Kubernetes' word for it."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message or reason)
        self.status, self.reason = status, reason


def url_of(kind: str, namespace: str | None, name: str | None = None, *, api_version: str | None = None) -> str:
    """Path of a collection or an object."""
    version, plural = RESOURCES.get(kind, ("", f"{kind.lower()}s"))
    version = api_version or version
    root = "/api/v1" if version == "v1" else f"/apis/{version}"
    middle = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{middle}/{plural}" + (f"/{name}" if name else "")


class Api:
    """A connection pool to one API server. An async context manager.

    Args:
        access: server and credentials.
        count: called with (verb, HTTP status) after each answer; 0 stands for a broken connection.
        pause: sleeps between tries; given so that tests need not wait.
    """

    def __init__(
        self,
        access: Access,
        *,
        count: Callable[[str, int], None] = lambda verb, status: None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.access, self._count, self._pause = access, count, pause
        self._server = access.server.rstrip("/")
        """May have a path of its own, behind a gateway."""
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self.access.ssl_context(), limit=64)
        self._session = aiohttp.ClientSession(connector=connector, trust_env=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def apply(self, item: Raw, *, status: bool = False) -> Raw:
        """Server-side apply: the server keeps everybody's fields apart, and ours are as we say."""
        metadata = item["metadata"]
        path = url_of(item["kind"], metadata.get("namespace"), metadata["name"], api_version=item["apiVersion"])
        params = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self.request("PATCH", path + ("/status" if status else ""), item, params=params, content=APPLY)

    async def get(
        self, kind: str, namespace: str | None, name: str, *, api_version: str | None = None, cached: bool = False
    ) -> Raw | None:
        """The object, or None when there is none (or no such kind).

        Args:
            cached: the server may answer from its cache, which costs it a tenth and may be a moment old.
        """
        params = {"resourceVersion": "0"} if cached else None
        try:
            return await self.request("GET", url_of(kind, namespace, name, api_version=api_version), params=params)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def patch(self, path: str, body: Any, *, content: str = MERGE) -> Raw:
        return await self.request("PATCH", path, body, params={"fieldManager": FIELD_MANAGER}, content=content)

    async def create(self, path: str, body: Raw) -> Raw:
        return await self.request("POST", path, body, params={"fieldManager": FIELD_MANAGER})

    async def delete(self, item: Raw, *, foreground: bool = False) -> None:
        """Delete exactly this object, not a successor of its name. One that is gone already is fine."""
        metadata = item["metadata"]
        path = url_of(item["kind"], metadata.get("namespace"), metadata["name"], api_version=item.get("apiVersion"))
        body: Raw = {"propagationPolicy": "Foreground" if foreground else "Background"}
        if uid := metadata.get("uid"):
            body["preconditions"] = {"uid": uid}
        try:
            await self.request("DELETE", path, body)
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    async def watch(self, path: str, params: Mapping[str, str]) -> AsyncIterator[Raw]:
        """Events of one watch until the server ends it.

        Raises:
            ApiError: also for an ERROR event, such as 410 when the resource version is too old.
        """
        query = {**params, "watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(_WATCH_S)}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_WATCH_S + 20)
        assert self._session is not None
        try:
            url = self._server + path
            async with self._session.get(url, params=query, headers=await self._headers(), timeout=timeout) as answer:
                self._count("WATCH", answer.status)
                if answer.status >= 400:
                    raise _error(answer.status, await answer.read())
                buffer = b""
                async for chunk in answer.content.iter_any():
                    *lines, buffer = (buffer + chunk).split(b"\n")
                    for line in lines:
                        if line:
                            event: Raw = orjson.loads(line)
                            if event["type"] == "ERROR":
                                raise _error(int(event["object"].get("code") or 500), orjson.dumps(event["object"]))
                            yield event
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(0, "ConnectionLost", str(error)) from error

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, str] | None = None,
        content: str = "application/json",
    ) -> Raw:
        """One call, tried again while the server or the way to it is in trouble.

        Raises:
            ApiError: refused, still in trouble after the last try, or `STRANGE`.
        """
        pause_s = _FIRST_PAUSE_S
        for last in [False] * (_TRIES - 1) + [True]:
            status, raw, retry_after = await self._once(method, path, body, params, content)
            self._count(method, status)
            if 0 < status < 400:
                return _object(raw)
            if last or not (status == 0 or status == 429 or status >= 500):
                raise _error(status, raw)
            await self._pause(max(retry_after, pause_s * (0.5 + random.random())))
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        raise AssertionError("not reached")

    async def text(self, path: str, *, params: Mapping[str, str] | None = None) -> str:
        """What is no JSON, such as the log of a pod. Asked once.

        Raises:
            ApiError: refused, or not answered.
        """
        status, raw, _ = await self._once("GET", path, None, params, "application/json")
        self._count("GET", status)
        if 0 < status < 400:
            return raw.decode(errors="replace")
        raise _error(status, raw)

    async def _once(
        self, method: str, path: str, body: Any, params: Mapping[str, str] | None, content: str
    ) -> tuple[int, bytes, float]:
        assert self._session is not None
        headers = {**await self._headers(), "Content-Type": content}
        data = None if body is None else orjson.dumps(body)
        timeout = aiohttp.ClientTimeout(total=60, sock_connect=10)
        try:
            async with self._session.request(
                method, self._server + path, data=data, params=params, headers=headers, timeout=timeout
            ) as answer:
                after = answer.headers.get("Retry-After", "0")
                return answer.status, await answer.read(), float(after) if after.isdigit() else 0.0
        except (aiohttp.ClientError, TimeoutError) as error:
            return 0, (str(error) or type(error).__name__).encode(), 0.0

    async def _headers(self) -> dict[str, str]:
        token = await self.access.token()
        return {"Authorization": f"Bearer {token}"} if token else {}


def _object(raw: bytes) -> Raw:
    try:
        found = orjson.loads(raw) if raw else {}
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise ApiError(0, STRANGE, "what came is no JSON object")
    return found


def _error(status: int, raw: bytes) -> ApiError:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = {"reason": "", "message": raw.decode(errors="replace")[:300]}
    if not isinstance(body, dict):
        body = {"message": str(body)[:300]}
    return ApiError(status, str(body.get("reason") or status), str(body.get("message") or ""))
