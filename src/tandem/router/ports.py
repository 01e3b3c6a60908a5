"""What a processor calls, and what a rule is."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from tandem.core.routing import RouteChoice, RouteRequest


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An instance that may be chosen, and what is known of it."""

    instance_id: str
    active: float = 0.0
    """Sequences on it: its own report, and what was sent there since."""
    waiting_prefill_tokens: int = 0
    kv_used: float = 0.0
    """Share of its KV blocks in use, 0..1; 0 when it never reported."""
    dp_rank: int | None = None
    """Data-parallel rank, when the instance has several: each is a candidate of its own."""
    gpu_tokens: int = 0
    """Leading prompt tokens that it holds on its GPU, or will: we sent them there."""
    host_tokens: int = 0
    """The same, with its host's memory."""
    disk_tokens: int = 0
    """The same, with its disk."""
    wait_s: float = 0.0
    """Until its prefill queue would come to a new prompt. Seconds."""
    tokens_per_s: float = 8000.0
    """How fast it computes prompts, as far as seen."""

    @property
    def target(self) -> tuple[str, int | None]:
        """What tells it from the others."""
        return self.instance_id, self.dp_rank


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One choice to be made. Everything that a rule may use is here."""

    request: RouteRequest
    last: str | None
    """Instance chosen last."""
    draw: float
    """A random number, 0 <= draw < 1."""
    now: float
    """Seconds on a monotonic clock."""
    shared_tokens: int = 0
    """Leading prompt tokens that some candidate holds, or will: the most of any."""
    sharers: float = 0.0
    """Open requests that begin with those tokens, per worker that holds them."""
    session: str | None = None
    """Instance that this session's requests went to so far."""
    session_is_hard: bool = False
    """Whether it must go there again even if that is busy."""


class Rule(Protocol):
    """Chooses one of at least one candidates, given in the order of their ids. Pure: equal arguments, equal choice.

    Own rules register under the entry point group `tandem.routers` and are named by `router: NAME`.
    """

    def __call__(self, candidates: Sequence[Candidate], ask: Ask) -> RouteChoice: ...


class Router(Protocol):
    """What the processor calls, here or in another process."""

    async def choose(self, request: RouteRequest) -> RouteChoice:
        """One of `request.candidates`. Raises `Unavailable` when the router itself cannot answer, in time."""

    def prefilled(self, request_id: str) -> None:
        """The request's first token has come. Safe to repeat, and never to call."""

    def finished(self, request_id: str) -> None:
        """The request left the instance chosen for it: finished, failed or cancelled. Safe to repeat."""
