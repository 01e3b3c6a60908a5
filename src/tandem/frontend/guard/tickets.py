"""A request's way past the guard: whose it is, how urgent, and what it has taken from its key's limits. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tandem.core.openai_in import ChatRequest, CompletionRequest
from tandem.core.openai_out import Spent
from tandem.errors import ModelNotFound, RateLimited, RequestError
from tandem.frontend.guard.estimate import estimate
from tandem.frontend.guard.keys import KeyEntry
from tandem.frontend.guard.quotas import DAY_S, Charge, Meter, Refusal, Unit, duration, ratelimit_headers

PRIORITY_HEADER: Final = "x-request-priority"


@dataclass(slots=True)
class Ticket:
    """Of one request; closed when it is over."""

    tell: Callable[[str, str], None]
    """Adds a header to the response."""
    key: KeyEntry | None = None
    meter: Meter | None = None
    priority: int | None = None
    """What the header says."""
    charge: Charge | None = None
    cost: Spent | None = None
    """As last told by the processor."""
    complete: bool = False
    """Whether `cost` is all of it."""
    replies: int = 0
    """Pieces of the answer that went out since the prompt's cost was told: each is one token at least."""

    @property
    def metered(self) -> bool:
        """Whether its tokens are counted."""
        return self.meter is not None and self.meter.counts("tokens")

    def enter(self, now: float) -> None:
        """Count the request. Raises `RateLimited`."""
        if self.meter is not None:
            self._take("requests", 1, now)

    def accept(self, request: ChatRequest | CompletionRequest, models: list[str], now: float) -> None:
        """Check what the request asks for, set its priority, reserve its tokens.

        Args:
            models: those that are served.
        Raises:
            ModelNotFound: the key does not allow the model.
            RequestError: it is to be more urgent than the key allows.
            RateLimited: its tokens are used up.
        """
        check_model(self.key, request.model, models)
        request.priority = effective_priority(self.key, self.priority, request.priority)
        if self.meter is not None and self.metered:
            prompt_tokens, output_tokens = estimate(request)
            self._take("tokens", prompt_tokens + output_tokens, now)
            self.charge = Charge(self.meter, prompt_tokens, output_tokens)

    def costs(self, cost: Spent, now: float) -> None:
        """The processor told what it has cost: first the prompt, last everything."""
        self.complete = self.cost is not None
        self.cost = cost
        if self.charge is not None:
            self.charge.prompt_is(cost.prompt_tokens, now)

    def close(self, now: float) -> int:
        """The request is over, however it ended: what it did not cost is given back. Returns its tokens."""
        total = 0
        if self.cost is not None:
            total = self.cost.prompt_tokens + (self.cost.output_tokens if self.complete else self.replies)
        if self.charge is not None:
            self.charge.settle(total, now)
            self.charge = None
        return total

    def _take(self, unit: Unit, amount: int, now: float) -> None:
        assert self.meter is not None
        refusal = self.meter.take(unit, amount, now)
        for name, value in ratelimit_headers(self.meter, now):
            self.tell(name, value)
        if refusal is not None:
            raise RateLimited(_words(refusal), retry_after_s=refusal.retry_after_s)


def check_model(key: KeyEntry | None, asked: str | None, served: Sequence[str]) -> None:
    """Whether a key may use the model that is asked for, or the only one. Raises `ModelNotFound`."""
    if key is None or not key.models:
        return
    name = asked if asked is not None else (served[0] if len(served) == 1 else None)
    if name is not None and name not in key.models:
        raise ModelNotFound.named(name)


def effective_priority(key: KeyEntry | None, header: int | None, body: int | None) -> int:
    """How urgent a request is: what its body says, else its header, else its key. Smaller is more urgent.

    Raises:
        RequestError: it says that it is more urgent than its key allows.
    """
    usual = key.priority if key is not None else 0
    asked = body if body is not None else header
    if asked is None:
        return usual
    if key is not None and asked < usual:
        where = "priority" if body is not None else PRIORITY_HEADER
        raise RequestError(
            f"{where} {asked}: this key may say {usual} (its own) or more, which is less urgent", param=where
        )
    return asked


def header_priority(value: bytes | None) -> int | None:
    """What the header says. Raises `RequestError` for what is no number of a priority."""
    if value is None:
        return None
    try:
        asked = int(value) if len(value) <= 11 else None
    except ValueError:
        asked = None
    if asked is None or not -(2**31) <= asked < 2**31:
        raise RequestError(f"{PRIORITY_HEADER} must be a whole number, such as 0", param=PRIORITY_HEADER)
    return asked


def _words(refusal: Refusal) -> str:
    period = "day" if refusal.period_s == DAY_S else "minute"
    wait = duration(refusal.retry_after_s)
    return f"this key may use {refusal.limit} {refusal.unit} per {period}; try again in {wait}"
