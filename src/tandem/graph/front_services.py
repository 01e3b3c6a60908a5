"""Frontend, Processor and Router as services: their rooms, wired to settings and to each other.

In one process they hold each other's objects; apart, each endpoint below goes over the request plane and the
classes of `far.py` stand in for the far side.
"""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from tandem.core.embeddings import EmbeddingList, EmbeddingsCall
from tandem.core.openai_in import ChatCall, CompletionCall
from tandem.core.openai_out import ChatReply, Completion, Spent
from tandem.core.routing import RouteChoice, RouteRequest
from tandem.core.tokens import Detokenized, DetokenizeRequest, TokenizeCall, Tokenized
from tandem.graph.about import About, Nothing
from tandem.graph.batch_folder import state_dir
from tandem.graph.clients import LocalClient
from tandem.graph.context import dynamo_context
from tandem.graph.declare import (
    Linkable,
    async_on_shutdown,
    async_on_start,
    before_connect,
    endpoint,
    readiness,
    status,
    trace,
    wait_dead,
)
from tandem.graph.engine_services import model_location
from tandem.settings import (
    BatchSettings,
    FrontendSettings,
    GuardSettings,
    LimitSettings,
    ProcessorSettings,
    RouterSettings,
)

if TYPE_CHECKING:  # asyncio takes a quarter of the time that `--dry-run` has
    from tandem.graph.tasks import Tasks

log = logging.getLogger(__name__)

_KV_MODES = ("kv", "kv-load", "approx-kv")


class RouterService(Linkable):
    """Wires `tandem.router`: one rule over the loads that workers report."""

    tasks: "Tasks"

    @async_on_start
    async def start(self) -> None:
        """Listen to the workers' reports."""
        settings: RouterSettings = dynamo_context["settings"][RouterSettings]
        processor: ProcessorSettings = dynamo_context["others"](ProcessorSettings)
        self.tasks = new_tasks()
        name = settings.custom_router or processor.router
        if name in _KV_MODES:
            self.router = kv_router(self.tasks, settings, processor.component)
        else:
            self.router = self._over_rule(name, processor.component)

    def _over_rule(self, name: str, component: str) -> Any:
        """A router over the rule `name`, fed with the reports of `component`."""
        from tandem.router.service import RuleRouter

        router = RuleRouter(rule(name))
        runtime = dynamo_context["runtime"]
        self.tasks.add("load reports", router.listen(runtime.bus, runtime.namespace, component))
        return router

    @endpoint()
    async def choose(self, request: RouteRequest) -> AsyncIterator[RouteChoice]:
        """Which instance takes a request."""
        yield await self.router.choose(request)

    @endpoint()
    async def prefilled(self, request_id: str) -> AsyncIterator[bool]:
        """A request's first token has come."""
        self.router.prefilled(request_id)
        yield True

    @endpoint()
    async def finished(self, request_id: str) -> AsyncIterator[bool]:
        """A request is over."""
        self.router.finished(request_id)
        yield True

    @async_on_shutdown
    async def stop(self) -> None:
        """Stop listening."""
        await self.tasks.cancel()

    @wait_dead
    async def dead(self) -> str:
        """A task that must not end ended."""
        return await self.tasks.ended()


class ProcessorService(Linkable):
    """Wires `tandem.processor`."""

    router: Any
    tasks: "Tasks"

    @async_on_start
    async def start(self) -> None:
        """Follow the decode workers; load the tokenizer once the model is known."""
        from tandem.processor.embeddings import Embedder
        from tandem.processor.generate import Generator
        from tandem.processor.model import TextModel
        from tandem.processor.service import Processor, ProcessorOptions
        from tandem.processor.serving import ServedModels

        settings: ProcessorSettings = dynamo_context["settings"][ProcessorSettings]
        front: FrontendSettings = dynamo_context["others"](FrontendSettings)
        runtime, stories = dynamo_context["runtime"], dynamo_context["stories"]
        self.tasks = new_tasks()
        self.view = runtime.instances(settings.component)
        models = ServedModels(
            self.view,
            component=settings.component,
            model_path=model_location(settings.model) if settings.model else None,
            served_model_name=front.served_model_name,
            min_workers=settings.min_workers,
            load=partial(TextModel.load, template_file=settings.chat_template),
        )
        await models.prepare()
        self.tasks.add("models", models.follow())
        router = self._router_for(settings)
        generator = Generator(models, router, runtime.call, stories, max_reroutes=settings.max_reroutes)
        self.processor = Processor(
            models,
            generator,
            stories,
            ProcessorOptions(
                response_form=front.response_form,
                reasoning_parser=settings.reasoning_parser,
                tool_call_parser=settings.tool_call_parser,
                default_max_tokens=settings.default_max_tokens,
            ),
            Embedder(models, router, runtime.call),
        )

    def _router_for(self, settings: ProcessorSettings) -> Any:
        """Routing by KV is the Router's; the simple modes need no call."""
        if settings.router in _KV_MODES:
            if isinstance(self.router, LocalClient):
                return self.router.here.router
            if self.router.instance_ids():
                from tandem.graph.far import FarRouter

                return FarRouter(self.router)
            return kv_router(self.tasks, RouterSettings(), settings.component)  # nobody else does it: no second switch
        from tandem.router.service import RuleRouter

        runtime, router = dynamo_context["runtime"], RuleRouter(rule(settings.router))
        self.tasks.add("load reports", router.listen(runtime.bus, runtime.namespace, settings.component))
        return router

    @endpoint("chat/completions")
    async def chat(self, call: ChatCall) -> AsyncIterator[ChatReply | Spent]:
        """A chat, for a Frontend in another process."""
        async with aclosing(self.processor.chat(call)) as replies:
            async for reply in replies:
                yield reply

    @endpoint("completions")
    async def complete(self, call: CompletionCall) -> AsyncIterator[Completion | Spent]:
        """A plain completion, likewise."""
        async with aclosing(self.processor.complete(call)) as replies:
            async for reply in replies:
                yield reply

    @endpoint()
    async def embed(self, call: EmbeddingsCall) -> AsyncIterator[EmbeddingList]:
        """Embeddings, likewise."""
        yield await self.processor.embed(call)

    @endpoint()
    async def tokenize(self, call: TokenizeCall) -> AsyncIterator[Tokenized]:
        """The tokens of a text or a chat, likewise."""
        yield await self.processor.tokenize(call)

    @endpoint()
    async def detokenize(self, request: DetokenizeRequest) -> AsyncIterator[Detokenized]:
        """The text of tokens, likewise."""
        yield await self.processor.detokenize(request)

    @endpoint()
    async def about(self, _: Nothing) -> AsyncIterator[About]:
        """What is served, and whether it can be."""
        yield About(self.processor.models(), self.processor.not_ready())

    @readiness
    def ready(self) -> bool | str:
        """When a decode worker is there and its tokenizer is loaded."""
        return self.processor.not_ready() or True

    @status
    def report(self) -> dict[str, Any]:
        """The decode workers as this processor sees them."""
        return {
            "models": [model.id for model in self.processor.models()],
            "instances": [
                {
                    "instance": card.instance_id,
                    "component": card.component,
                    "address": card.address,
                    "roles": card.roles,
                }
                for card in self.view.all()
            ],
        }

    @trace
    def story(self, request_id: str) -> bytes | None:
        """How a response was made."""
        story: bytes | None = dynamo_context["stories"].json(request_id)
        return story

    @async_on_shutdown
    async def stop(self) -> None:
        """Stop following."""
        await self.tasks.cancel()

    @wait_dead
    async def dead(self) -> str:
        """A task that must not end ended."""
        return await self.tasks.ended()


class FrontendService(Linkable):
    """Wires `tandem.frontend`: takes the port before anything is connected, opens it at first readiness."""

    processor: Any
    server: Any = None
    door: Any = None
    tasks: "Tasks"

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

    @trace
    def story(self, request_id: str) -> bytes | None:
        """How a response was made."""
        story: bytes | None = dynamo_context["stories"].json(request_id)
        return story

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

    @wait_dead
    async def dead(self) -> str:
        """A task that must not end ended."""
        return await self.tasks.ended()


def new_tasks() -> "Tasks":
    """None yet."""
    from tandem.graph.tasks import Tasks

    return Tasks()


def rule(name: str) -> Any:
    """The rule called `name`."""
    from tandem.router.registry import rule_named

    return rule_named(name)


def kv_router(tasks: "Tasks", settings: RouterSettings, component: str) -> Any:
    """A router that follows what the workers of `component` hold."""
    from tandem.router.kv import KvRouter

    router = KvRouter(dynamo_context["runtime"], settings, component=component)
    tasks.add("kv", router.follow())
    return router
