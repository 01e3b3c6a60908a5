"""A processor and a router that live in another process, in the shape that their callers need."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from tandem.core.embeddings import EmbeddingList, EmbeddingsCall
from tandem.core.openai_in import ChatCall, CompletionCall
from tandem.core.openai_out import ChatReply, Completion, Model, Spent
from tandem.core.outlet import Outlet
from tandem.core.routing import RouteChoice, RouteRequest
from tandem.core.tokens import Detokenized, DetokenizeRequest, TokenizeCall, Tokenized
from tandem.errors import ServingError, Unavailable
from tandem.graph.about import About, Nothing

log = logging.getLogger(__name__)

_LOOK_INTERVAL_S = 0.5


class FarProcessor:
    """A processor in another process, as the front door needs it."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._about = About(not_ready="no processor is there yet")

    async def look(self) -> None:
        """Keep up with what it says of itself."""
        while True:
            try:
                async with aclosing(self._client.about(Nothing())) as answers:
                    async for about in answers:
                        self._about = about
            except ServingError as error:
                self._about = About(self._about.models, f"no processor answers: {error}")
            await asyncio.sleep(_LOOK_INTERVAL_S)

    def chat(self, call: ChatCall, outlet: Outlet | None = None) -> AsyncGenerator[ChatReply | Spent, None]:
        """See `ProcessorService.chat`."""
        stream: AsyncGenerator[ChatReply | Spent, None] = self._client.chat(call)
        return stream

    def complete(self, call: CompletionCall, outlet: Outlet | None = None) -> AsyncGenerator[Completion | Spent, None]:
        """See `ProcessorService.complete`."""
        stream: AsyncGenerator[Completion | Spent, None] = self._client.complete(call)
        return stream

    async def embed(self, call: EmbeddingsCall) -> EmbeddingList:
        """See `ProcessorService.embed`."""
        async with aclosing(self._client.embed(call)) as answers:
            embeddings: EmbeddingList = await anext(answers)
            return embeddings

    async def tokenize(self, call: TokenizeCall) -> Tokenized:
        """See `ProcessorService.tokenize`."""
        async with aclosing(self._client.tokenize(call)) as answers:
            tokens: Tokenized = await anext(answers)
            return tokens

    async def detokenize(self, request: DetokenizeRequest) -> Detokenized:
        """See `ProcessorService.detokenize`."""
        async with aclosing(self._client.detokenize(request)) as answers:
            text: Detokenized = await anext(answers)
            return text

    def models(self) -> list[Model]:
        """As last heard."""
        return self._about.models

    def not_ready(self) -> str | None:
        """As last heard."""
        return self._about.not_ready


class FarRouter:
    """A router in another process, as the processor needs it."""

    def __init__(self, client: Any, *, timeout_s: float = 1.0) -> None:
        """`timeout_s`: how long it may think."""
        self._client = client
        self._timeout_s = timeout_s
        self._telling: set[asyncio.Task[None]] = set()

    async def choose(self, request: RouteRequest) -> RouteChoice:
        """See `RouterService.choose`. Raises `Unavailable` when it takes too long."""
        try:
            async with asyncio.timeout(self._timeout_s), aclosing(self._client.choose(request)) as answers:
                choice: RouteChoice = await anext(answers)
                return choice
        except TimeoutError as error:
            raise Unavailable(f"the router did not choose within {self._timeout_s:g} s") from error

    def prefilled(self, request_id: str) -> None:
        """Told without waiting, as `finished`."""
        self._tell_soon(self._client.prefilled, request_id)

    def finished(self, request_id: str) -> None:
        """Told without waiting: a router that misses it errs by one request until the next report."""
        self._tell_soon(self._client.finished, request_id)

    def _tell_soon(self, what: Any, request_id: str) -> None:
        task = asyncio.create_task(self._tell(what, request_id))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, what: Any, request_id: str) -> None:
        try:
            async with aclosing(what(request_id)) as answers:
                await anext(answers)
        except ServingError as error:
            log.debug("router.not_told request_id=%s error=%s", request_id, error)
