"""A processor and a router that live in another process, in the shape that their callers need."""

import asyncio
import logging
import zlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

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
_LINE_RETRY_S = 0.2


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
    """A router in another process, as the processor needs it.

    It holds a line to one instance of the Router, and asks that one alone: what is counted there for us goes when the
    line breaks. `follow` must run beside it.
    """

    def __init__(self, client: Any, asker: str, *, timeout_s: float = 1.0) -> None:
        """
        Args:
            asker: this process's instance id.
            timeout_s: how long the router may think.
        """
        self._client = client
        self._asker = asker
        self._timeout_s = timeout_s
        self._at: str | None = None
        """The instance at the other end of the line, while it stands."""
        self._telling: set[asyncio.Task[None]] = set()

    async def follow(self) -> None:
        """Hold the line, to another instance when one is lost; until cancelled."""
        while True:
            # Askers spread over instances, and each comes back to its own.
            there = sorted(self._client.instance_ids(), key=lambda i: zlib.crc32(f"{self._asker}/{i}".encode()))
            for instance_id in there:
                try:
                    async with aclosing(self._client.direct(self._asker, instance_id, "accompany")) as line:
                        async for _ in line:
                            self._at = instance_id
                except ServingError as error:
                    log.info("router.line_broke instance=%s error=%s", instance_id, error)
                finally:
                    self._at = None
            await asyncio.sleep(_LINE_RETRY_S)

    async def choose(self, request: RouteRequest) -> RouteChoice:
        """See `RouterService.choose`. Raises `Unavailable` while no line stands, and when it takes too long."""
        if self._at is None:
            raise Unavailable("no router answers")
        asking = self._client.direct(msgspec.structs.replace(request, asker=self._asker), self._at, "choose")
        try:
            async with asyncio.timeout(self._timeout_s), aclosing(asking) as answers:
                choice: RouteChoice = await anext(answers)
                return choice
        except TimeoutError as error:
            raise Unavailable(f"the router did not choose within {self._timeout_s:g} s") from error

    def prefilled(self, request_id: str) -> None:
        """Told without waiting, as `finished`."""
        self._tell_soon("prefilled", request_id)

    def finished(self, request_id: str) -> None:
        """Told without waiting: a router that misses it errs by one request until the line breaks."""
        self._tell_soon("finished", request_id)

    def _tell_soon(self, what: str, request_id: str) -> None:
        if self._at is None:  # what was counted went with the line
            return
        task = asyncio.create_task(self._tell(what, request_id, self._at))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, what: str, request_id: str, instance_id: str) -> None:
        try:
            async with aclosing(self._client.direct(request_id, instance_id, what)) as answers:
                await anext(answers)
        except ServingError as error:
            log.debug("router.not_told request_id=%s error=%s", request_id, error)
