"""POST /v1/responses, and what there is to say about responses of before."""

import time
from collections.abc import Callable
from contextlib import aclosing
from typing import NoReturn

from tandem.core.openai_in import ChatCall, ChatRequest, Origin
from tandem.core.tokens import TokenizeCall
from tandem.errors import Cancelled, RequestError, ServingError
from tandem.frontend.answering import Answering
from tandem.frontend.bodies import Decoder
from tandem.frontend.exchange import Exchange
from tandem.frontend.openai_responses.answers import Event, InputTokens, ResponseObject
from tandem.frontend.openai_responses.asking import REFUSED, chat_of, in_their_words
from tandem.frontend.openai_responses.requests import ResponsesRequest
from tandem.frontend.openai_responses.telling import ResponseTeller, blank_response
from tandem.frontend.ports import Answers
from tandem.frontend.routes import Route
from tandem.frontend.statuses import HttpFault


class Responses:
    """OpenAI's newer API, stateless."""

    def __init__(
        self, answering: Answering, processor: Answers, *, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._answering = answering
        self._processor = processor
        self._wall_clock = wall_clock
        self._decoder = Decoder(ResponsesRequest, answering.limits)

    def routes(self) -> list[Route]:
        """Making a response; and asking for an earlier one, which is never there."""
        kept = "Say that no response is kept"
        return [
            Route(
                method="POST",
                path="/v1/responses",
                handler=self.post_response,
                summary="Answer a conversation, as OpenAI's Responses do; nothing is kept of it",
                request=ResponsesRequest,
                response=ResponseObject,
                event=Event,
                refused=REFUSED,
                counts=True,
            ),
            Route(
                method="POST",
                path="/v1/responses/input_tokens",
                handler=self.count_input,
                summary="How long a conversation's prompt is",
                request=ResponsesRequest,
                response=InputTokens,
                refused=REFUSED,
                faults=(404, 429, 503),
            ),
            *(
                Route(method=method, path=path, handler=self.no_response, summary=kept, faults=(404,))
                for method, path in (
                    ("GET", "/v1/responses/{id}"),
                    ("DELETE", "/v1/responses/{id}"),
                    ("POST", "/v1/responses/{id}/cancel"),
                    ("GET", "/v1/responses/{id}/input_items"),
                )
            ),
        ]

    async def post_response(self, exchange: Exchange) -> None:
        """POST /v1/responses."""
        with self._answering.place():
            request: ResponsesRequest = await self._answering.read(exchange, self._decoder)
            chat = chat_of(request)
            try:
                await self._answering.run(
                    exchange, request.model, bool(request.stream), lambda: self._tell(exchange, request, chat)
                )
            except RequestError as error:
                raise in_their_words(error) from error

    async def count_input(self, exchange: Exchange) -> None:
        """POST /v1/responses/input_tokens."""
        with self._answering.place():
            request: ResponsesRequest = await self._answering.read(exchange, self._decoder)
            self._answering.check_model(exchange, request.model)
            try:
                found = await self._processor.tokenize(TokenizeCall(request.model, chat=chat_of(request)))
            except RequestError as error:
                raise in_their_words(error) from error
            await exchange.response.json(200, InputTokens(found.count))

    async def no_response(self, exchange: Exchange) -> NoReturn:
        """Any request about a response of before."""
        raise HttpFault("not_found", f"there is no response {exchange.params['id'][:128]!r}: none is kept here")

    async def _tell(self, exchange: Exchange, request: ResponsesRequest, chat: ChatRequest) -> None:
        """Pass the answer on: event by event, or as one response."""
        out, teller = exchange.response, None
        try:
            async with aclosing(self._processor.chat(ChatCall(exchange.origin, chat))) as chunks:
                async for chunk in chunks:
                    events: list[Event] = []
                    if teller is None:
                        teller = self._teller(exchange.origin, request, chunk.model)
                        events += teller.begin()
                    events += teller.add(chunk)  # type: ignore[arg-type] # a chat that streams yields chunks
                    if request.stream:
                        await out.named_events(events)
        except ServingError as error:
            if teller is not None and out.status is not None and not isinstance(error, Cancelled):
                await out.named_events(teller.fail(error))
                await out.end_stream(b"")
            raise
        assert teller is not None, "a chat ended without a chunk"
        last = teller.close()
        if request.stream:
            await out.named_events(last)
            await out.end_stream(b"")
        else:
            await out.json(200, teller.response)

    async def whole(self, origin: Origin, request: ResponsesRequest, *, priority: int) -> ResponseObject:
        """The response in one piece, for one who is no HTTP client. Raises `ServingError`; cancelling it cancels."""
        chat, teller = chat_of(request), None
        chat.priority = priority
        try:
            async with aclosing(self._processor.chat(ChatCall(origin, chat))) as chunks:
                async for chunk in chunks:
                    teller = teller or self._teller(origin, request, chunk.model)
                    teller.add(chunk)  # type: ignore[arg-type] # a chat that streams yields chunks
        except RequestError as error:
            raise in_their_words(error) from error
        assert teller is not None, "a chat ended without a chunk"
        teller.close()
        return teller.response

    def _teller(self, origin: Origin, request: ResponsesRequest, model: str) -> ResponseTeller:
        response = blank_response(
            request,
            response_id=f"resp_{origin.request_id.replace('-', '')}",
            model=model,
            created_at=origin.accepted_at,
        )
        return ResponseTeller(response, self._wall_clock)
