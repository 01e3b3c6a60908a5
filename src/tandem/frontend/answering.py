"""One request for an answer: read, decoded, told, relayed; and given up when its client goes away."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from tandem.core.openai_in import ChatCall, ChatRequest, CompletionCall, CompletionRequest
from tandem.core.openai_out import ChatChunk, ChatCompletion, Completion
from tandem.errors import Cancelled, DeadlineExceeded, ServingError
from tandem.frontend.bodies import Decoder, read_body
from tandem.frontend.exchange import Exchange
from tandem.frontend.guard.tickets import check_model
from tandem.frontend.ports import Answers
from tandem.frontend.responses import Response
from tandem.frontend.routes import Route
from tandem.observe import metrics, stages
from tandem.observe.stories import Stories
from tandem.settings import LimitSettings

_GRACE_S: Final = 5.0
"""The call of the worker ends at the deadline; this much later so does a client that does not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorOptions:
    """Limits of the front door."""

    limits: LimitSettings = field(default_factory=LimitSettings)
    request_timeout_s: float = 600.0
    """Life of a request."""
    access_log: bool = False


class Answering:
    """Chats and plain completions."""

    def __init__(self, processor: Answers, stories: Stories, options: DoorOptions) -> None:
        self._processor = processor
        self._stories = stories
        self._options = options
        self._chat = Decoder(ChatRequest, options.limits)
        self._completion = Decoder(CompletionRequest, options.limits)
        self.running = 0
        """Requests being read or answered."""

    def routes(self) -> list[Route]:
        """What clients ask for answers at."""
        return [
            Route(
                method="POST",
                path="/v1/chat/completions",
                handler=self.post_chat,
                summary="Answer a conversation",
                request=ChatRequest,
                response=ChatCompletion,
                event=ChatChunk,
                counts=True,
            ),
            Route(
                method="POST",
                path="/v1/completions",
                handler=self.post_completion,
                summary="Go on with a text",
                request=CompletionRequest,
                response=Completion,
                event=Completion,
                counts=True,
            ),
        ]

    async def post_chat(self, exchange: Exchange) -> None:
        """POST /v1/chat/completions."""
        with self.place():
            request: ChatRequest = await self.read(exchange, self._chat)
            call = ChatCall(exchange.origin, request)
            await self._answer(exchange, request, lambda: self._processor.chat(call, exchange.response.outlet))

    async def post_completion(self, exchange: Exchange) -> None:
        """POST /v1/completions."""
        with self.place():
            request: CompletionRequest = await self.read(exchange, self._completion)
            call = CompletionCall(exchange.origin, request)
            await self._answer(exchange, request, lambda: self._processor.complete(call, exchange.response.outlet))

    def check_model(self, exchange: Exchange, model: str | None) -> None:
        """For what asks a model's tokenizer only: no ticket stands for it. Raises `ModelNotFound`."""
        check_model(exchange.key, model, [each.id for each in self._processor.models()])

    @property
    def limits(self) -> LimitSettings:
        """What requests may have."""
        return self._options.limits

    @contextmanager
    def place(self) -> Iterator[None]:
        """One of the places here, held from before the body is read: bodies take memory too. The guard lets in."""
        self.running += 1
        metrics.REQUESTS_RUNNING.inc()
        try:
            yield
        finally:
            self.running -= 1
            metrics.REQUESTS_RUNNING.dec()

    async def read(self, exchange: Exchange, decoder: Decoder) -> Any:
        """The request, read and decoded."""
        limits = self._options.limits
        declared = exchange.headers.get(b"content-length", b"")
        size = int(declared) if declared.isdigit() else None
        body = None
        if exchange.wire is not None and size is not None and size <= limits.max_body_bytes:
            body = exchange.wire.whole_body()
        if body is None:
            body = await read_body(
                exchange.receive, declared=size, limit=limits.max_body_bytes, timeout_s=limits.body_timeout_s
            )
        return decoder.decode(body)

    async def _answer(
        self,
        exchange: Exchange,
        request: ChatRequest | CompletionRequest,
        start: Callable[[], AsyncGenerator[Any, None]],
    ) -> None:
        """Run the request and relay what it says."""
        stream = bool(request.stream)
        await self.run(exchange, request.model, stream, lambda: _relay(start(), exchange.response, stream))

    async def run(
        self, exchange: Exchange, model: str | None, stream: bool, work: Callable[[], Awaitable[None]]
    ) -> None:
        """Do the work of an accepted request, for as long as its client is there, and no longer than it may take."""
        self._tell_accepted(exchange, model, stream)
        here, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert here is not None
        reasons: list[ServingError] = []

        def give_up(reason: ServingError) -> None:
            if not reasons:
                reasons.append(reason)
                here.cancel()

        timeout_s = self._options.request_timeout_s
        timer = loop.call_later(
            timeout_s + _GRACE_S,
            lambda: give_up(DeadlineExceeded(f"the request took longer than {timeout_s:g} s")),
        )
        try:
            with _watched(exchange, lambda: give_up(Cancelled("the client went away"))):
                await work()
        except asyncio.CancelledError:
            if not reasons:
                raise
            here.uncancel()
            raise reasons[0] from None
        finally:
            timer.cancel()

    def _tell_accepted(self, exchange: Exchange, model: str | None, stream: bool) -> None:
        if exchange.client_request_id is not None:
            self._stories.alias(exchange.client_request_id, exchange.origin.request_id)
        self._stories.add(
            exchange.origin.request_id,
            stages.ACCEPTED,
            at=exchange.origin.accepted_at,
            route=exchange.path,
            model=model,
            stream=stream,
            client_request_id=exchange.client_request_id,
        )


async def _relay(answer: AsyncGenerator[Any, None], response: Response, stream: bool) -> None:
    """Pass the answer on as it comes."""
    async with aclosing(answer) as replies:
        if stream:
            async for reply in replies:
                await response.event(reply)
            await response.end_stream()
        else:
            async for reply in replies:
                await response.json(200, reply)


@contextmanager
def _watched(exchange: Exchange, on_gone: Callable[[], None]) -> Iterator[None]:
    """Call `on_gone` if the client goes away: the server tells by itself, or is asked by a task."""
    wire = exchange.wire
    if wire is not None:
        wire.tell_gone(on_gone)
        try:
            yield
        finally:
            wire.on_gone = None
        return

    async def watch() -> None:
        while (await exchange.receive())["type"] != "http.disconnect":
            pass
        on_gone()

    watcher = asyncio.create_task(watch())
    try:
        yield
    finally:
        watcher.cancel()
