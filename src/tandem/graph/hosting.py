"""The services of one process: built, given their clients, hooked, served, and taken down in order."""

import inspect
import logging
import os
import socket
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from tandem.core.cards import InstanceCard
from tandem.graph.clients import LocalClient, RemoteClient, Signature, answers, plain, typed
from tandem.graph.configure import Configured, ServiceConfig
from tandem.graph.context import enter_context
from tandem.graph.control import Assign
from tandem.graph.declare import Hook, info_of
from tandem.graph.loading import Graph
from tandem.observe.stories import Stories
from tandem.runtime.ports import Registration, Runtime
from tandem.transport.address import host_of

log = logging.getLogger(__name__)


class Hosted:
    """One service of this process."""

    def __init__(
        self,
        cls: type[Any],
        config: ServiceConfig,
        assign: Assign,
        configured: Configured,
        stories: Stories,
        shared_door: socket.socket | None,
    ) -> None:
        self.cls = cls
        self.config = config
        self.instance: Any = None
        self.context: dict[str, Any] = {
            "config": config.own_keys,
            "service_name": config.info.name,
            "component": config.info.name,
            "namespace": configured.planes.namespace,
            "endpoints": [each.name for each in config.info.endpoints],
            "worker_id": assign.worker,
            "workers": assign.workers,
            "shared_door": shared_door,
            "supervisor": f"{socket.gethostname()}-{assign.system_port}",
            "settings": config.settings,
            "engine_args": config.engine_args,
            "deployment": assign.deployment,
            "planes": configured.planes,
            "stories": stories,
            "others": configured.of,
            "runtime": None,
            "drain_timeout_s": configured.supervisor.drain_timeout_s,
        }

    @property
    def name(self) -> str:
        """Its component's name."""
        return self.config.info.name

    def hooks(self, kind: Hook) -> list[Any]:
        """The bound methods of one kind."""
        return [getattr(self.instance, name) for name in self.config.info.hooks.get(kind, ())]

    async def run(self, kind: Hook, *arguments: Any) -> list[Any]:
        """Run the hooks of one kind, in order; each may be plain or a coroutine."""
        enter_context(self.context)
        results = []
        for hook in self.hooks(kind):
            made = hook(*arguments)
            results.append(await made if inspect.isawaitable(made) else made)
        return results

    def methods(self) -> dict[str, Any]:
        """Endpoints by method name and by endpoint name."""
        found = {}
        for each in self.config.info.endpoints:
            found[each.method] = found[each.name] = getattr(self.instance, each.method)
        return found


class House:
    """All services of a process, dependencies first."""

    def __init__(
        self, graph: Graph, configured: Configured, assign: Assign, shared_door: socket.socket | None = None
    ) -> None:
        self._assign = assign
        self._configured = configured
        stories = Stories()
        self.hosted = {
            name: Hosted(cls, configured.services[name], assign, configured, stories, shared_door)
            for name, cls in graph.services.items()
            if name in assign.services
        }
        self._runtime: Runtime | None = None
        self._registrations: list[Registration] = []
        self._doors: list[Any] = []

    async def before_connect(self) -> None:
        """Build the services that load something first, and let them."""
        for hosted in self.hosted.values():
            if hosted.config.info.hooks.get("before_connect"):
                self._build(hosted)
                await hosted.run("before_connect")

    async def start(self, runtime: Runtime) -> None:
        """Build the rest, give each its clients, run the start hooks, then announce."""
        self._runtime = runtime
        for hosted in self.hosted.values():
            hosted.context["runtime"] = runtime
            if hosted.instance is None:
                self._build(hosted)
            self._connect(hosted)
        for hosted in self.hosted.values():
            await hosted.run("on_start")
        for hosted in self.hosted.values():
            await self._announce(hosted)
        for hosted in self.hosted.values():
            await self._open_door(hosted)

    async def _open_door(self, hosted: Hosted) -> None:
        """Serve `@api` endpoints over HTTP, if the service has any."""
        named = {each.name: each.method for each in hosted.config.info.endpoints if each.http}
        if not named:
            return
        from tandem.frontend.server import DoorServer
        from tandem.graph.http_api import HttpApi

        methods = {name: getattr(hosted.instance, method) for name, method in named.items()}
        keys = hosted.config.own_keys
        door = DoorServer(
            HttpApi(methods, lambda: enter_context(hosted.context)),
            host=str(keys.get("host", "0.0.0.0")),
            port=int(keys.get("port", 8000)),
            drain_timeout_s=self._configured.supervisor.drain_timeout_s,
        )
        await door.open()
        self._doors.append(door)

    async def withdraw(self) -> None:
        """Be chosen no more. Safe to repeat."""
        while self._doors:
            await self._doors.pop().aclose()
        while self._registrations:
            await self._registrations.pop().withdraw()

    async def shut_down(self, drain_timeout_s: float) -> None:
        """Run the shutdown hooks, callers before those they call; one that fails stops no other."""
        for hosted in reversed(self.hosted.values()):
            hosted.context["drain_timeout_s"] = drain_timeout_s
            if hosted.instance is None:
                continue
            try:
                await hosted.run("on_shutdown")
            except Exception:
                log.exception("service.shutdown_failed service=%s", hosted.name)

    def _build(self, hosted: Hosted) -> None:
        enter_context(hosted.context)
        hosted.instance = instance = object.__new__(hosted.cls)
        if self._runtime is not None:
            self._connect(hosted)
        instance.__init__()

    def _connect(self, hosted: Hosted) -> None:
        for attribute, target in hosted.config.info.depends.items():
            vars(hosted.instance)[attribute] = self._client(target)

    def _client(self, target: type[Any]) -> LocalClient | RemoteClient:
        assert self._runtime is not None
        info = info_of(target)
        here = self.hosted.get(info.name)
        if here is not None:
            if here.instance is None:
                self._build(here)
            return LocalClient(info.name, here.instance, here.methods(), lambda: enter_context(here.context))
        namespace, component = self._configured.planes.namespace, info.name
        moved = self._assign.depends.get(info.name)
        if moved:
            where, _, component = moved.rpartition("/")
            namespace = where or namespace
        endpoints = {}
        for each in info.endpoints:
            signature = Signature.of(getattr(target, each.method))
            endpoints[each.method] = endpoints[each.name] = (each.name, signature)
        return RemoteClient(self._runtime, namespace, component, endpoints)

    async def _announce(self, hosted: Hosted) -> None:
        runtime, info = self._runtime, hosted.config.info
        if runtime is None or not info.endpoints:
            return
        for each in info.endpoints:
            method = getattr(hosted.instance, each.method)
            wire = Signature.of(method).wire_request
            runtime.serve(f"{info.name}/{each.name}", wire, Any, _handler(hosted.context, method))
        card = InstanceCard(
            instance_id=runtime.instance_id,
            namespace=runtime.namespace,
            component=info.name,
            endpoints=[each.name for each in info.endpoints],
            address=runtime.server.address,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=time.time(),
            system_address=f"{host_of(runtime.server.address)}:{self._assign.system_port}",
        )
        self._registrations.append(await runtime.announce(card))


def _handler(context: Mapping[str, Any], method: Any) -> Any:
    signature = Signature.of(method)

    async def handle(request: Any) -> AsyncGenerator[Any, None]:
        enter_context(context)
        stream = answers(method, typed(request, signature.request))
        try:
            async for answer in stream:
                yield plain(answer)
        finally:
            await stream.aclose()

    return handle
