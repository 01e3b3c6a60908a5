"""Requests of batches, answered as those of clients are, in one piece and behind them."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import msgspec

from tandem.core.embeddings import EmbeddingsCall, EmbeddingsRequest
from tandem.core.openai_in import ChatCall, ChatRequest, CompletionCall, CompletionRequest, Origin
from tandem.errors import EngineFailed, RequestError
from tandem.frontend.batches.rules import PRIORITY
from tandem.frontend.bodies import Decoder
from tandem.frontend.guard.service import Guard
from tandem.frontend.openai_responses.requests import ResponsesRequest
from tandem.frontend.openai_responses.service import Responses
from tandem.frontend.ports import Answers
from tandem.observe import stages
from tandem.observe.stories import Stories
from tandem.settings import LimitSettings


class LineAnswers:
    """Answers bodies by endpoint."""

    def __init__(
        self, processor: Answers, responses: Responses, guard: Guard, stories: Stories, limits: LimitSettings
    ) -> None:
        self._processor = processor
        self._responses = responses
        self._guard = guard
        self._stories = stories
        self._endpoints: dict[str, tuple[Decoder, Callable[[Origin, Any], Awaitable[Any]]]] = {
            "/v1/chat/completions": (Decoder(ChatRequest, limits), self._chat),
            "/v1/completions": (Decoder(CompletionRequest, limits), self._complete),
            "/v1/embeddings": (Decoder(EmbeddingsRequest, limits), self._embed),
            "/v1/responses": (Decoder(ResponsesRequest, limits), self._respond),
        }

    async def answer(self, endpoint: str, body: bytes, origin: Origin, owner: str) -> Any:
        """The answer, to be encoded: what the key called `owner` may use is used.

        Raises `ServingError` and `HttpFault`; cancelling it cancels the request.
        """
        decoder, answer = self._endpoints[endpoint]
        key = self._guard.named(owner) if owner else None
        try:
            ticket = self._guard.enter(origin.request_id, key, {}, _tell_nobody)
            request = decoder.decode(body)
            if getattr(request, "stream", False):
                raise RequestError("stream must be false: an answer of a batch is no stream", param="stream")
            self._stories.add(
                origin.request_id,
                stages.ACCEPTED,
                at=origin.accepted_at,
                route=endpoint,
                model=request.model,
                batch=True,
            )
            return await answer(msgspec.structs.replace(origin, metered=ticket.metered), request)
        finally:
            self._guard.leave(origin.request_id)

    async def _chat(self, origin: Origin, request: ChatRequest) -> Any:
        request.priority = PRIORITY
        return await _only(self._processor.chat(ChatCall(origin, request)))

    async def _complete(self, origin: Origin, request: CompletionRequest) -> Any:
        request.priority = PRIORITY
        return await _only(self._processor.complete(CompletionCall(origin, request)))

    async def _embed(self, origin: Origin, request: EmbeddingsRequest) -> Any:
        request.priority = PRIORITY
        return await self._processor.embed(EmbeddingsCall(origin, request))

    async def _respond(self, origin: Origin, request: ResponsesRequest) -> Any:
        return await self._responses.whole(origin, request, priority=PRIORITY)


async def _only(replies: AsyncGenerator[Any, None]) -> Any:
    """The one reply, once the request is over."""
    found = None
    async with aclosing(replies):
        async for reply in replies:
            found = reply
    if found is None:
        raise EngineFailed("the answer ended before it was there")
    return found


def _tell_nobody(name: str, value: str) -> None:
    """Headers of a response that there is none of."""
