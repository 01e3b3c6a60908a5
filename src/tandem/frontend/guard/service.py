"""The guard: knows the keys, keeps the meters, and stands between the handlers and the processor."""

import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import TypeVar, cast

from tandem.core.embeddings import EmbeddingList, EmbeddingsCall
from tandem.core.load import LoadReport
from tandem.core.openai_in import ChatCall, CompletionCall, CompletionRequest
from tandem.core.openai_out import ChatReply, Completion, Model, Spent
from tandem.core.outlet import Outlet
from tandem.core.tokens import Detokenized, DetokenizeRequest, TokenizeCall, Tokenized
from tandem.frontend.guard.admission import Admission
from tandem.frontend.guard.keyring import Keys
from tandem.frontend.guard.keys import KeyEntry, shown_key
from tandem.frontend.guard.quotas import Quotas, Unit
from tandem.frontend.guard.tickets import PRIORITY_HEADER, Ticket, effective_priority, header_priority
from tandem.frontend.ports import Processor
from tandem.frontend.statuses import HttpFault
from tandem.observe import metrics
from tandem.settings import LimitSettings

Reply = TypeVar("Reply")


INSTANCE_HEADER = b"x-tandem-instance"


class Guard:
    """Who may come in, and with how much."""

    def __init__(
        self,
        keys: Keys | None = None,
        *,
        limits: LimitSettings | None = None,
        processes: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`processes`: how many share the clients, and so the requests that may be served at once."""
        limits = limits or LimitSettings()
        self._keys = keys or Keys()
        self._admission = Admission(-(-limits.max_inflight // processes), limits.max_waiting)
        self._quotas = Quotas()
        self._clock = clock
        self._tickets: dict[str, Ticket] = {}

    @property
    def keys_required(self) -> bool:
        """Whether clients need a key."""
        return self._keys.required

    def key_of(self, headers: Mapping[bytes, bytes]) -> KeyEntry | None:
        """Whose request this is; None where no keys are asked for. Raises `HttpFault` without a valid one."""
        if not self._keys.required:
            return None
        shown = shown_key(headers)
        if shown is not None and (entry := self._keys.ring().find(shown)) is not None:
            return entry
        what = "a key is needed: send `Authorization: Bearer KEY`" if shown is None else "the API key is not valid"
        raise HttpFault("unauthorized", what, {"www-authenticate": "Bearer"})

    def named(self, name: str) -> KeyEntry:
        """The key called `name`, for what runs later on its behalf. Raises `HttpFault` when there is none any more."""
        for entry in self._keys.ring().entries:
            if entry.name == name:
                return entry
        raise HttpFault("unauthorized", f"the API key {name!r} is not valid any more")

    def instance_of(self, headers: Mapping[bytes, bytes], key: KeyEntry | None) -> str | None:
        """The decode worker that a request names. Raises `HttpFault` when its key does not allow that."""
        named = headers.get(INSTANCE_HEADER)
        if named is None:
            return None
        if key is None or not key.may_choose_instance:
            raise HttpFault("forbidden", "x-tandem-instance needs a key with may-choose-instance: true")
        return named.decode("latin-1")

    def enter(
        self,
        request_id: str,
        key: KeyEntry | None,
        headers: Mapping[bytes, bytes],
        tell: Callable[[str, str], None],
        running: int = 0,
    ) -> Ticket:
        """A request for an answer comes in, beside `running` others here; `leave` must follow, also when this raises.

        Raises: `Overloaded`, `RateLimited`, `RequestError`.
        """
        now = self._clock()
        meter = self._quotas.meter(key, now) if key is not None else None
        ticket = self._tickets[request_id] = Ticket(tell, key, meter)
        ticket.priority = header_priority(headers.get(PRIORITY_HEADER.encode()))
        self._admission.place(running, effective_priority(key, ticket.priority, None))
        ticket.enter(now)
        return ticket

    def heard(self, report: LoadReport) -> None:
        """A decode worker said how busy it is."""
        self._admission.pressure.heard(report, self._clock())

    def spent(self) -> dict[str, dict[Unit, int]]:
        """What keys have spent here since this was last asked."""
        return self._quotas.untold()

    def heard_spent(self, spent: Mapping[str, Mapping[Unit, int]]) -> None:
        """What keys have spent in another process."""
        now = self._clock()
        for entry in self._keys.ring().entries:
            if (amounts := spent.get(entry.name)) and (meter := self._quotas.meter(entry, now)) is not None:
                for unit, amount in amounts.items():
                    meter.heard(unit, amount, now)

    def leave(self, request_id: str) -> None:
        """It is over."""
        ticket = self._tickets.pop(request_id, None)
        if ticket is not None and (tokens := ticket.close(self._clock())) and ticket.key is not None:
            metrics.KEY_TOKENS.labels(ticket.key.name).inc(tokens)

    def before(self, processor: Processor) -> "Guarded":
        """The processor as handlers may use it."""
        return Guarded(processor, self._tickets, self._admission, self._clock)


class Guarded:
    """`ports.Answers`: refuses what the ticket does not cover, and keeps costs from going out."""

    def __init__(
        self,
        processor: Processor,
        tickets: Mapping[str, Ticket],
        admission: Admission,
        clock: Callable[[], float],
    ) -> None:
        self._admission = admission
        self._processor = processor
        self._tickets = tickets
        self._clock = clock

    def chat(self, call: ChatCall, outlet: Outlet | None = None) -> AsyncGenerator[ChatReply, None]:
        """See `ports.Answers`."""
        ticket = self._accepted(call)
        return self._counting(self._processor.chat(call, _counting_outlet(outlet, ticket)), ticket)

    def complete(self, call: CompletionCall, outlet: Outlet | None = None) -> AsyncGenerator[Completion, None]:
        """See `ports.Answers`."""
        ticket = self._accepted(call)
        return self._counting(self._processor.complete(call, _counting_outlet(outlet, ticket)), ticket)

    async def embed(self, call: EmbeddingsCall) -> EmbeddingList:
        """See `ports.Answers`. Costs the inputs' tokens."""
        request = call.request
        # What a key may do with a model, and how tokens are estimated, is the same for a text that is only read.
        likewise = CompletionRequest(model=request.model, prompt=request.input, max_tokens=1, priority=request.priority)
        ticket = self._accepted(CompletionCall(call.origin, likewise))
        request.priority = likewise.priority
        answer = await self._processor.embed(call)
        if ticket is not None and ticket.metered:
            spent = Spent(prompt_tokens=answer.usage.prompt_tokens, output_tokens=0)
            ticket.costs(spent, self._clock())
            ticket.costs(spent, self._clock())
        return answer

    async def tokenize(self, call: TokenizeCall) -> Tokenized:
        """See `ports.Answers`. Costs no tokens."""
        return await self._processor.tokenize(call)

    async def detokenize(self, request: DetokenizeRequest) -> Detokenized:
        """See `ports.Answers`."""
        return await self._processor.detokenize(request)

    def models(self) -> list[Model]:
        """See `ports.Answers`."""
        return self._processor.models()

    def not_ready(self) -> str | None:
        """See `ports.Answers`."""
        return self._processor.not_ready()

    def _accepted(self, call: ChatCall | CompletionCall) -> Ticket | None:
        ticket = self._tickets.get(call.origin.request_id)
        if ticket is not None:
            names = [model.id for model in self._processor.models()] if ticket.key and ticket.key.models else []
            now = self._clock()
            ticket.accept(call.request, names, now)
            self._admission.turn(call.request.priority or 0, now)
        return ticket

    def _counting(
        self, replies: AsyncGenerator[Reply | Spent, None], ticket: Ticket | None
    ) -> AsyncGenerator[Reply, None]:
        if ticket is None or not ticket.metered:
            return cast(AsyncGenerator[Reply, None], replies)  # tells no costs, and stays one generator
        return self._counted(replies, ticket)

    async def _counted(
        self, replies: AsyncGenerator[Reply | Spent, None], ticket: Ticket
    ) -> AsyncGenerator[Reply, None]:
        async with aclosing(replies):
            async for reply in replies:
                if isinstance(reply, Spent):
                    ticket.costs(reply, self._clock())
                else:
                    ticket.replies += 1
                    yield reply


class _CountedOutlet:
    """An outlet whose events count as the replies that they are."""

    def __init__(self, outlet: Outlet, ticket: Ticket) -> None:
        self._outlet = outlet
        self._ticket = ticket

    def ready(self) -> bool:
        return self._outlet.ready()

    def events(self, parts: Sequence[bytes]) -> Callable[[list[bytes]], None]:
        write, ticket = self._outlet.events(parts), self._ticket

        def counted(texts: list[bytes]) -> None:
            ticket.replies += len(texts)
            write(texts)

        return counted


def _counting_outlet(outlet: Outlet | None, ticket: Ticket | None) -> Outlet | None:
    if outlet is None or ticket is None or not ticket.metered:
        return outlet
    return _CountedOutlet(outlet, ticket)
