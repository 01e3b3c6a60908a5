"""The processor as the front door sees it, and ASGI's types."""

from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from tandem.core.embeddings import EmbeddingList, EmbeddingsCall
from tandem.core.openai_in import ChatCall, CompletionCall
from tandem.core.openai_out import ChatReply, Completion, Model, Spent
from tandem.core.outlet import Outlet
from tandem.core.tokens import Detokenized, DetokenizeRequest, TokenizeCall, Tokenized

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]


class Processor(Protocol):
    """Makes answers; here or in another process. `tandem.processor.service.Processor` is one."""

    def chat(self, call: ChatCall, outlet: Outlet | None = None) -> AsyncGenerator[ChatReply | Spent, None]:
        """Chunks, or one completion when the request does not stream. Closing it cancels; raises `ServingError`.

        Chunks of plain text may go through `outlet` instead of being yielded, in the right order.
        With `origin.metered`, what it costs is said before them (the prompt) and after (everything).
        """

    def complete(self, call: CompletionCall, outlet: Outlet | None = None) -> AsyncGenerator[Completion | Spent, None]:
        """The same for plain completions."""

    async def embed(self, call: EmbeddingsCall) -> EmbeddingList:
        """Embeddings of the inputs. Raises `ServingError`; cancelling it gives them up."""

    async def tokenize(self, call: TokenizeCall) -> Tokenized:
        """A text or a chat's prompt in tokens. Raises `RequestError` and its kin, as `chat`."""

    async def detokenize(self, request: DetokenizeRequest) -> Detokenized:
        """Tokens as text. Raises `RequestError` for tokens that the model does not have."""

    def models(self) -> list[Model]: ...

    def not_ready(self) -> str | None:
        """Why no request can be answered now, or None."""


class Answers(Protocol):
    """A processor behind the guard, as handlers see it: it raises what the guard refuses, and tells no costs."""

    def chat(self, call: ChatCall, outlet: Outlet | None = None) -> AsyncGenerator[ChatReply, None]:
        """See `Processor.chat`."""

    def complete(self, call: CompletionCall, outlet: Outlet | None = None) -> AsyncGenerator[Completion, None]:
        """See `Processor.complete`."""

    async def embed(self, call: EmbeddingsCall) -> EmbeddingList: ...

    async def tokenize(self, call: TokenizeCall) -> Tokenized: ...

    async def detokenize(self, request: DetokenizeRequest) -> Detokenized: ...

    def models(self) -> list[Model]: ...

    def not_ready(self) -> str | None: ...
