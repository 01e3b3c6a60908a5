"""Processor as a service: the room `tandem.processor` wired to settings, to its models and to a router.

A Frontend of the same process calls the processor itself; the endpoints are for Frontends elsewhere (`far.py`).
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any

from tandem.core.embeddings import EmbeddingList, EmbeddingsCall
from tandem.core.openai_in import ChatCall, CompletionCall
from tandem.core.openai_out import ChatReply, Completion, Spent
from tandem.core.tokens import Detokenized, DetokenizeRequest, TokenizeCall, Tokenized
from tandem.graph.about import About, Nothing
from tandem.graph.built_in import WithStories, WithTasks, new_tasks
from tandem.graph.clients import LocalClient
from tandem.graph.context import dynamo_context
from tandem.graph.declare import (
    async_on_shutdown,
    async_on_start,
    endpoint,
    readiness,
    status,
)
from tandem.graph.engine_services import model_location
from tandem.graph.routers import made_router, router_place
from tandem.settings import FrontendSettings, ProcessorSettings, RouterSettings


class ProcessorService(WithTasks, WithStories):
    """Wires `tandem.processor`."""

    router: Any

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
        linked = isinstance(self.router, LocalClient)
        match router_place(settings.router, linked=linked, instances=len(self.router.instance_ids())):
            case "linked":
                return self.router.here.router
            case "far":
                from tandem.graph.far import FarRouter

                far = FarRouter(self.router, dynamo_context["runtime"].instance_id)
                self.tasks.add("router", far.follow())
                return far
            case "own":
                return made_router(settings.router, self.tasks, RouterSettings(), settings.component)

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

    @async_on_shutdown
    async def stop(self) -> None:
        """Stop following."""
        await self.tasks.cancel()
