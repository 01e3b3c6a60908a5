"""The processor as the front door sees it, and ASGI's types."""

from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from tandem.core.openai_in import ChatCall, CompletionCall
from tandem.core.openai_out import ChatReply, Completion, Model

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]


class Processor(Protocol):
    """Makes answers; here or in another process. `tandem.processor.service.Processor` is one."""

    def chat(self, call: ChatCall) -> AsyncGenerator[ChatReply, None]:
        """Chunks, or one completion when the request does not stream. Closing it cancels; raises `ServingError`."""

    def complete(self, call: CompletionCall) -> AsyncGenerator[Completion, None]:
        """The same for plain completions."""

    def models(self) -> list[Model]: ...

    def not_ready(self) -> str | None:
        """Why no request can be answered now, or None."""
