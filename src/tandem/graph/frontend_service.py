"""Frontend as a service: the room `tandem.frontend` wired to settings and to a processor, here or elsewhere."""

import os
from typing import Any

from tandem.graph.batch_folder import state_dir
from tandem.graph.built_in import WithStories, WithTasks, new_tasks
from tandem.graph.clients import LocalClient
from tandem.graph.context import dynamo_context
from tandem.graph.declare import (
    async_on_shutdown,
    async_on_start,
    before_connect,
    readiness,
    status,
)
from tandem.settings import BatchSettings, FrontendSettings, GuardSettings, LimitSettings, ProcessorSettings


class FrontendService(WithTasks, WithStories):
    """Wires `tandem.frontend`: takes the port before anything is connected, opens it at first readiness."""

    processor: Any
    server: Any = None
    door: Any = None

    @before_connect
    def reserve(self) -> None:
        """A busy port is told at once."""
        from tandem.frontend.protocol import HeadLimits
        from tandem.frontend.server import DoorServer
        from tandem.graph import front_door

        self.settings: FrontendSettings = dynamo_context["settings"][FrontendSettings]
        self.limits: LimitSettings = dynamo_context["settings"][LimitSettings]
        self.guarding: GuardSettings = dynamo_context["settings"][GuardSettings]

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await self.door(scope, receive, send)

        self.server = DoorServer(
            app,
            host=self.settings.host,
            port=self.settings.port,
            drain_timeout_s=dynamo_context["drain_timeout_s"],
            head_limits=HeadLimits(
                max_bytes=self.limits.max_header_bytes,
                max_headers=self.limits.max_headers,
                timeout_s=self.limits.header_timeout_s,
                send_timeout_s=self.limits.send_timeout_s,
            ),
            tls=front_door.tls(self.guarding),
            shared=dynamo_context["shared_door"],
        )
        self.server.reserve()
        self.opened = False

    @async_on_start
    async def start(self) -> None:
        """Build the application; the port opens when a request could first be answered."""
        from tandem.frontend.answering import DoorOptions
        from tandem.frontend.app import FrontDoor
        from tandem.frontend.guard.cors import Cors
        from tandem.frontend.guard.service import Guard
        from tandem.graph import front_door

        self.tasks = new_tasks()
        processes, runtime = dynamo_context["workers"], dynamo_context["runtime"]
        self.guard = Guard(front_door.keys(self.guarding), limits=self.limits, processes=processes)
        component = dynamo_context["others"](ProcessorSettings).component
        self.tasks.add("load reports", front_door.hear_loads(self.guard, runtime, component))
        if processes > 1 and self.guard.keys_required:
            self.tasks.add("spending", front_door.share_spending(self.guard, runtime, dynamo_context["supervisor"]))
        if isinstance(self.processor, LocalClient):
            self.behind = self.processor.here.processor
        else:
            from tandem.graph.far import FarProcessor

            self.behind = FarProcessor(self.processor)
            self.tasks.add("processor", self.behind.look())
        self.door = FrontDoor(
            self.behind,
            dynamo_context["stories"],
            DoorOptions(
                limits=self.limits,
                request_timeout_s=self.settings.request_timeout_s,
                access_log=self.settings.access_log,
            ),
            guard=self.guard,
            cors=Cors(self.guarding.cors_origins),
            batches=self._batch_options(),
        )
        if self.door.batches is not None:
            self.tasks.add("batches", self.door.batches.runner.run())

    def _batch_options(self) -> Any:
        """Where batches are kept, if they are."""
        from tandem.frontend.batches.service import BatchOptions

        settings: BatchSettings = dynamo_context["settings"][BatchSettings]
        folder = state_dir(settings.batch_folder, os.environ, dynamo_context["planes"].namespace)
        return folder and BatchOptions(
            folder=folder,
            max_file_bytes=settings.batch_file_bytes,
            max_bytes=settings.batch_folder_bytes,
            max_lines=settings.batch_lines,
            lines_at_once=settings.batch_lines_at_once,
            line_timeout_s=self.settings.request_timeout_s,
            lease_s=settings.batch_lease_s,
        )

    @readiness
    async def ready(self) -> bool | str:
        """When requests can be answered. The first time, the port opens; it stays open."""
        reason: str | None = self.behind.not_ready()
        if reason is None and not self.opened:
            await self.server.open()
            self.opened = True
        return reason or True

    @status
    def report(self) -> dict[str, Any]:
        """The door, and what goes through it."""
        host = "127.0.0.1" if self.settings.host in ("0.0.0.0", "::", "") else self.settings.host
        report: dict[str, Any] = {
            "requests": self.door.running,
            "models": [model.id for model in self.behind.models()],
        }
        if self.opened:
            report["door"] = f"{'https' if self.guarding.tls_cert else 'http'}://{host}:{self.server.port}"
        return report

    @async_on_shutdown
    async def stop(self) -> None:
        """Accept nobody new, let running requests finish."""
        if self.server is None:  # its start failed, and that is what should be told
            return
        batches = self.door.batches if self.door is not None else None
        import asyncio

        async with asyncio.TaskGroup() as group:
            group.create_task(self.server.aclose())
            if batches is not None:
                group.create_task(batches.aclose(dynamo_context["drain_timeout_s"]))
        if self.door is not None:
            await self.tasks.cancel()
