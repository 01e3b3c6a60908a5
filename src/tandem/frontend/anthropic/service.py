"""POST /v1/messages and its token counting."""

import re
from contextlib import aclosing
from typing import Final, Literal

from tandem.core.openai_in import ChatCall, ChatRequest
from tandem.core.tokens import TokenizeCall
from tandem.frontend.answering import Answering
from tandem.frontend.anthropic.answers import Event, Message, TokenCount
from tandem.frontend.anthropic.asking import REFUSED, chat_of, conversation
from tandem.frontend.anthropic.errors import ANTHROPIC_ERRORS
from tandem.frontend.anthropic.requests import CountTokensRequest, MessagesRequest, ThinkingDisabled
from tandem.frontend.anthropic.telling import MessageFold, MessageTeller
from tandem.frontend.bodies import Decoder
from tandem.frontend.exchange import Exchange
from tandem.frontend.openapi.parameters import Parameter
from tandem.frontend.ports import Answers
from tandem.frontend.routes import Route
from tandem.frontend.statuses import HttpFault

_FIRST_VERSION: Final = "2023-06-01"
"""The first version that has these events. Later ones have them too; a client that names none gets this one."""
_VERSIONS: Final = r"^(2023-06-01|20(2[4-9]|[3-9][0-9])-[0-1][0-9]-[0-3][0-9])$"
_VERSION: Final = Parameter(
    name="anthropic-version",
    where="header",
    type=Literal["2023-06-01"],
    summary="The version of Anthropic's API that the client speaks. Later ones will be taken too.",
)


class Messages:
    """Anthropic's API."""

    def __init__(self, answering: Answering, processor: Answers) -> None:
        self._answering = answering
        self._processor = processor
        self._decoder = Decoder(MessagesRequest, answering.limits)
        self._count_decoder = Decoder(CountTokensRequest, answering.limits)

    def routes(self) -> list[Route]:
        """What clients of Anthropic ask at."""
        return [
            Route(
                method="POST",
                path="/v1/messages",
                handler=self.post_messages,
                summary="Answer a conversation, as Anthropic does",
                request=MessagesRequest,
                response=Message,
                event=Event,
                errors=ANTHROPIC_ERRORS,
                parameters=(_VERSION,),
                refused=REFUSED,
                counts=True,
            ),
            Route(
                method="POST",
                path="/v1/messages/count_tokens",
                handler=self.count_tokens,
                summary="How long a conversation's prompt is",
                request=CountTokensRequest,
                response=TokenCount,
                errors=ANTHROPIC_ERRORS,
                parameters=(_VERSION,),
                refused=REFUSED,
                faults=(404, 429, 503),
            ),
        ]

    async def post_messages(self, exchange: Exchange) -> None:
        """POST /v1/messages."""
        _check_version(exchange)
        with self._answering.place():
            request: MessagesRequest = await self._answering.read(exchange, self._decoder)
            chat = chat_of(request)
            await self._answering.run(
                exchange, request.model, bool(request.stream), lambda: self._tell(exchange, request, chat)
            )

    async def count_tokens(self, exchange: Exchange) -> None:
        """POST /v1/messages/count_tokens."""
        _check_version(exchange)
        with self._answering.place():
            request: CountTokensRequest = await self._answering.read(exchange, self._count_decoder)
            self._answering.check_model(exchange, request.model)
            call = TokenizeCall(request.model, chat=conversation(request))
            found = await self._processor.tokenize(call)
            await exchange.response.json(200, TokenCount(found.count))

    async def _tell(self, exchange: Exchange, request: MessagesRequest, chat: ChatRequest) -> None:
        """Pass the answer on: event by event, or as one message."""
        thinking = request.thinking
        teller = MessageTeller(
            f"msg_{exchange.origin.request_id}",
            max_tokens=request.max_tokens,
            omit_thinking=thinking is not None
            and not isinstance(thinking, ThinkingDisabled)
            and thinking.display == "omitted",
        )
        fold = MessageFold()
        async with aclosing(self._processor.chat(ChatCall(exchange.origin, chat))) as chunks:
            async for chunk in chunks:
                events = teller.add(chunk)  # type: ignore[arg-type] # a chat that streams yields chunks
                if request.stream:
                    await exchange.response.named_events(events)
                else:
                    fold.extend(events)
        if request.stream:
            await exchange.response.named_events(teller.close())
            await exchange.response.end_stream(b"")
        else:
            fold.extend(teller.close())
            await exchange.response.json(200, fold.message())


def _check_version(exchange: Exchange) -> None:
    version = exchange.headers.get(b"anthropic-version", _FIRST_VERSION.encode()).decode("latin-1")
    if not re.fullmatch(_VERSIONS, version):
        raise HttpFault(
            "bad_header", f"anthropic-version {version[:32]!r} is not served: {_FIRST_VERSION} and later are"
        )
