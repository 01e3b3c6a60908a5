"""The operator as a process: log in, become the leader, fill the caches, work until told to stop.

What runs beside each other: kopf (our own kinds, admission), one reflector for each kind of child, the workers of two
queues, the lease, and a small HTTP server for probes and metrics, which answers from the start.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import kopf
from aiohttp import web

from tandem.core.paths import at
from tandem.operator import labels
from tandem.operator.access import Access
from tandem.operator.api import Api, ApiError
from tandem.operator.cache import Cache, GroupKey, group_of
from tandem.operator.children import WORKLOADS
from tandem.operator.gang import POD_GROUP_API
from tandem.operator.handlers import build_registry, settings
from tandem.operator.lease import Leadership, refuse_beside_upstream
from tandem.operator.metrics import OperatorMetrics
from tandem.operator.queue import WorkQueue
from tandem.operator.reconcile import KIND as GROUP_KIND
from tandem.operator.reconcile import GroupReconciler, Outcome
from tandem.operator.reflector import Reflector
from tandem.operator.seen import ServerFacts
from tandem.operator.set_reconcile import KIND as SET_KIND
from tandem.operator.set_reconcile import SetReconciler
from tandem.operator.types import Raw

logger = logging.getLogger(__name__)

_UPSTREAM_LOOK_S: Final = 60.0
_KOPF_PAUSE_S: Final = 0.5
_KOPF_CALM_S: Final = 60.0
"""After this long without an end of kopf, the next pause is a short one again."""
_OWN_KINDS: Final = (
    GROUP_KIND,
    SET_KIND,
    "RoleBasedGroupScalingAdapter",
    "ClusterEngineRuntimeProfile",
)


_CHILD_KINDS: Final = ("Pod", "Service", "ConfigMap", "ControllerRevision", *WORKLOADS)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """How one operator runs. The command's flags."""

    namespace: str | None = None
    """Watch only this namespace; None watches all."""
    lease_namespace: str = "default"
    """Where the leader's lease lives."""
    workers: int = 8
    """Groups that are worked on at once."""
    http_host: str = ""
    """Address of probes and metrics; empty listens everywhere."""
    http_port: int = 8081
    sweep_s: float = 300.0
    """Between full lists of our own kinds, which find what a broken watch did not tell. Seconds."""
    webhook: Any = None
    """kopf's admission server, or None for no admission."""
    webhook_managed: str | None = None
    """Name of the webhook configuration that the operator keeps itself; None leaves that to the chart."""


class Operator:
    """Everything of one process; `run` is called once.

    Args:
        stop: set by whoever wants the operator to end.
    """

    def __init__(self, access: Access, wish: OperatorSettings, stop: asyncio.Event) -> None:
        self._access, self._wish, self._stop = access, wish, stop
        self.metrics = OperatorMetrics()
        self.cache = Cache()
        self._groups, self._sets = WorkQueue(time.monotonic), WorkQueue(time.monotonic)
        self._minor = 30
        self._leading = False
        self._reflectors: list[Reflector] = []
        self._forget: Callable[[str, str, str], None] = lambda kind, namespace, name: None

    async def run(self) -> None:
        """Until `stop`.

        Raises:
            ConfigError: an upstream operator is alive.
            LeaseLost: another replica took over.
        """
        async with Api(self._access, count=self.metrics.count_call) as api, self._http():
            await refuse_beside_upstream(api, datetime.now(UTC))
            self._minor = await _server_minor(api)
            identity = f"{socket.gethostname()}_{os.getpid()}_{os.urandom(3).hex()}"
            leadership = Leadership(api, self._wish.lease_namespace, identity)
            async with self._guarding():
                if not await self._unless_stopped(leadership.acquire()):
                    return
                self.metrics.leader.set(1)
                try:
                    await self._unless_stopped(self._lead(api, leadership))
                finally:
                    self._groups.close()
                    self._sets.close()
                    self._leading = False
                    await asyncio.shield(leadership.release())

    # ── told by kopf ──

    def learned(self, kind: str, item: Raw) -> None:
        """An object of ours, before anything acts on it."""
        self.cache.put(kind, item)

    def changed(self, kind: str, item: Raw, gone: bool) -> None:
        """An object changed, told by kopf or by a reflector: wake whom it concerns."""
        metadata = item["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        if gone:
            self.cache.drop(kind, namespace, name, uid=metadata.get("uid"))
            self._forget(kind, namespace, name)
        elif kind in _OWN_KINDS:
            self.cache.put(kind, item)
        match kind:
            case "RoleBasedGroup":
                if not gone:
                    self._groups.add((namespace, name), new="status" not in item)
                owners = at(metadata, "ownerReferences", default=[])
                for owner in owners:
                    if owner.get("kind") == SET_KIND:
                        self._sets.add((namespace, owner["name"]))
            case "RoleBasedGroupSet":
                self._sets.add((namespace, name))
            case "ClusterEngineRuntimeProfile":
                for group in self.cache.of_kind(GROUP_KIND):
                    if _uses(group, name):
                        self._groups.add((group["metadata"]["namespace"], group["metadata"]["name"]))
            case _:
                if key := group_of(item):
                    self._groups.add(key)

    # ── inside ──

    async def _lead(self, api: Api, leadership: Leadership) -> None:
        groups = GroupReconciler(api, self.cache, self.metrics, self._facts)
        sets = SetReconciler(api, self.cache, self.metrics)
        self._forget = groups.forget
        self._reflectors = [self._reflector(api, kind) for kind in _CHILD_KINDS]
        self._reflectors += [
            self._reflector(api, "PodGroup", api_version=version) for version in POD_GROUP_API.values()
        ]
        async with asyncio.TaskGroup() as tasks:
            for reflector in self._reflectors:
                tasks.create_task(reflector.run(), name=f"watch {reflector.kind}")
            tasks.create_task(leadership.keep(), name="lease")
            tasks.create_task(self._look_for_upstream(api), name="upstream")
            await asyncio.gather(*(reflector.synced.wait() for reflector in self._reflectors))
            self._leading = True
            logger.info("operator.ready children=%d", len(self.cache))
            for _ in range(self._wish.workers):
                tasks.create_task(self._work("group", self._groups, groups.reconcile), name="group worker")
            tasks.create_task(self._work("set", self._sets, sets.reconcile), name="set worker")
            tasks.create_task(self._sweep(api), name="sweep")
            tasks.create_task(self._kopf(), name="kopf")

    def _reflector(self, api: Api, kind: str, *, api_version: str | None = None) -> Reflector:
        return Reflector(
            api,
            self.cache,
            kind,
            self.changed,
            selector=labels.NAME,
            namespace=self._wish.namespace,
            api_version=api_version,
        )

    def _facts(self) -> ServerFacts:
        found = set()
        for reflector in self._reflectors:
            if reflector.installed and reflector.kind in ("LeaderWorkerSet", "PodGroup"):
                group = (reflector.api_version or "leaderworkerset.x-k8s.io/v1").split("/")[0]
                found.add(f"{reflector.kind}.{group}")
        return ServerFacts(minor=self._minor, kinds=frozenset(found))

    async def _work(self, kind: str, queue: WorkQueue, reconcile: Callable[[GroupKey], Awaitable[Outcome]]) -> None:
        while True:
            key = await queue.take()
            began = time.monotonic()
            outcome, word = Outcome(failed=True), "error"
            try:
                outcome = await reconcile(key)
                word = "refused" if outcome.failed else "done"
            except ApiError as error:
                logger.warning("reconcile.failed kind=%s key=%s/%s status=%s %s", kind, *key, error.status, error)
            except Exception:  # a bug in one group must not stop the others; it is logged, counted and tried again
                logger.exception("reconcile.crashed kind=%s key=%s/%s", kind, *key)
            queue.done(key, failed=outcome.failed)
            if outcome.again_after_s is not None and not outcome.failed:
                queue.add_after(key, outcome.again_after_s)
            self.metrics.reconciled.labels(kind, word).inc()
            self.metrics.seconds.labels(kind).observe(time.monotonic() - began)

    async def _sweep(self, api: Api) -> None:
        """kopf does not tell what was deleted while its watch was down: list, and drop what is gone."""
        while True:
            await asyncio.sleep(self._wish.sweep_s)
            for kind in _OWN_KINDS:
                lister = Reflector(api, self.cache, kind, self.changed, namespace=self._scope(kind))
                try:
                    await lister.refresh()
                except ApiError as error:
                    logger.warning("sweep.failed kind=%s %s", kind, error)

    def _scope(self, kind: str) -> str | None:
        return None if kind == "ClusterEngineRuntimeProfile" else self._wish.namespace

    async def _look_for_upstream(self, api: Api) -> None:
        while True:
            await asyncio.sleep(_UPSTREAM_LOOK_S)
            try:
                await refuse_beside_upstream(api, datetime.now(UTC))
            except ApiError as error:  # whether the server is there at all is the lease's business
                logger.warning("upstream.unknown %s", error)

    @asynccontextmanager
    async def _guarding(self) -> AsyncIterator[None]:
        """Answer admission also while another replica works: the chart's Service leads to all of them."""
        if self._wish.webhook is None or self._wish.webhook_managed:
            yield
            return
        guard = asyncio.create_task(self._kopf(admission=True), name="admission")
        try:
            yield
        finally:
            guard.cancel()
            await asyncio.gather(guard, return_exceptions=True)

    async def _kopf(self, *, admission: bool = False) -> None:
        """Run kopf, again after whatever the server told it: it gives up when it cannot look at the server's kinds.

        It lists everything when it begins, so what changed meanwhile is not lost.
        """
        one, managed = self._wish.namespace, self._wish.webhook_managed
        webhook = self._wish.webhook if admission or managed else None
        scope: dict[str, Any] = {"namespaces": [one]} if one else {"clusterwide": True}
        pause_s = _KOPF_PAUSE_S
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                await kopf.operator(
                    registry=build_registry(None if admission else self, self._access, admission=webhook is not None),
                    settings=settings(webhook=webhook, managed=managed),
                    standalone=True,
                    stop_flag=self._stop,
                    **scope,
                )
                self._stop.set()  # it ends without an error on a signal only, whose handler it takes from us
            except Exception as error:
                pause_s = _KOPF_PAUSE_S if time.monotonic() - began > _KOPF_CALM_S else min(2 * pause_s, 15.0)
                logger.warning("kopf.begins_again pause_s=%.1f %s: %s", pause_s, type(error).__name__, error)
                await asyncio.sleep(pause_s)

    async def _unless_stopped(self, work: Awaitable[None]) -> bool:
        """Do something until it ends or we are told to stop; returns whether it ended by itself."""
        doing = asyncio.ensure_future(work)
        waiting = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({doing, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        ended = doing.done()
        if not ended:
            doing.cancel()
        await asyncio.gather(doing, waiting, return_exceptions=True)
        if ended:
            doing.result()
        return ended

    def _http(self) -> "_Http":
        return _Http(self)

    @property
    def leading(self) -> bool:
        return self._leading

    def page(self) -> bytes:
        """The metrics page, with gauges as they are now."""
        found = {"True": 0, "False": 0}
        rolling = 0
        for item in self.cache.of_kind(GROUP_KIND):
            conditions = {c.get("type"): c.get("status") for c in at(item, "status", "conditions", default=[])}
            found["True" if conditions.get(labels.READY) == "True" else "False"] += 1
            rolling += conditions.get(labels.ROLLING) == "True"
        for value, number in found.items():
            self.metrics.groups.labels(value).set(number)
        self.metrics.rolling.set(rolling)
        self.metrics.waiting.set(len(self._groups) + len(self._sets))
        return self.metrics.page()

    @property
    def http_address(self) -> tuple[str, int]:
        return self._wish.http_host, self._wish.http_port


class _Http:
    """/live, /ready and /metrics. A replica that stands by is ready: it does what it should."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        app = web.Application()
        app.router.add_get("/live", self._live)
        app.router.add_get("/ready", self._live)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, handle_signals=False, access_log=None)

    async def __aenter__(self) -> None:
        await self._runner.setup()
        host, port = self._operator.http_address
        await web.TCPSite(self._runner, host or None, port).start()

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _live(self, request: web.Request) -> web.Response:
        return web.Response(text="leader\n" if self._operator.leading else "standby\n")

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._operator.page(), headers={"Content-Type": "text/plain; version=0.0.4"})


async def _server_minor(api: Api) -> int:
    found = await api.request("GET", "/version")
    digits = "".join(ch for ch in str(found.get("minor") or "") if ch.isdigit())
    return int(digits) if digits else 30


def _uses(group: Raw, profile: str) -> bool:
    return any(
        runtime.get("profileName") == profile
        for role in at(group, "spec", "roles", default=[])
        for runtime in role.get("engineRuntimes") or []
    )
