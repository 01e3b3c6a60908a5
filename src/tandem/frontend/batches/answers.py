"""Requests of batches, answered as those of clients are, in one piece and behind them."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import msgspec

from tandem.core.openai_in import ChatCall, ChatRequest, CompletionCall, CompletionRequest, Origin
from tandem.errors import EngineFailed, RequestError
from tandem.frontend.batches.rules import PRIORITY
from tandem.frontend.bodies import Decoder
from tandem.frontend.guard.service import Guard
from tandem.frontend.ports import Answers
from tandem.observe import stages
from tandem.observe.stories import Stories


class LineAnswers:
    """Answers bodies by endpoint."""

    def __init__(self, processor: Answers, guard: Guard, stories: Stories) -> None:
        self._guard = guard
        self._stories = stories
        self._endpoints: dict[str, tuple[Decoder, Callable[[Origin, Any], AsyncGenerator[Any, None]]]] = {
            "/v1/chat/completions": (
                Decoder(ChatRequest),
                lambda origin, request: processor.chat(ChatCall(origin, request)),
            ),
            "/v1/completions": (
                Decoder(CompletionRequest),
                lambda origin, request: processor.complete(CompletionCall(origin, request)),
            ),
        }

    async def answer(self, endpoint: str, body: bytes, origin: Origin, owner: str) -> Any:
        """The answer, to be encoded: what the key called `owner` may use is used.

        Raises `ServingError` and `HttpFault`; cancelling it cancels the request.
        """
        key = self._guard.named(owner) if owner else None
        try:
            ticket = self._guard.enter(origin.request_id, key, {}, _tell_nobody)
            return await self._answer(endpoint, body, msgspec.structs.replace(origin, metered=ticket.metered))
        finally:
            self._guard.leave(origin.request_id)

    async def _answer(self, endpoint: str, body: bytes, origin: Origin) -> Any:
        decoder, start = self._endpoints[endpoint]
        request = decoder.decode(body)
        if request.stream:
            raise RequestError("an answer of a batch is no stream", param="stream")
        request.priority = PRIORITY
        self._stories.add(
            origin.request_id, stages.ACCEPTED, at=origin.accepted_at, route=endpoint, model=request.model, batch=True
        )
        async with aclosing(start(origin, request)) as replies:
            async for reply in replies:
                return reply
        raise EngineFailed("the answer ended before it was there")


def _tell_nobody(name: str, value: str) -> None:
    """Headers of a response that there is none of."""
