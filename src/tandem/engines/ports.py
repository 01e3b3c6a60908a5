"""The Engine port. Every adapter passes `tests/contracts/engine_contract.py`.

Prefill and decode apart, seen from an engine:

    prefill worker:  async for answer in engine.prefill(request, first_token=True)   → GenerateOutput, then Handoff
    decode worker:   async for output in engine.decode(request, handoff)             → GenerateOutput …
    either:          async for output in engine.generate(request)                    → GenerateOutput …

All three are async generators, or behave like one; closing one (or cancelling the task that reads it) aborts the
work and frees its blocks within a second. Each ends with an output that has a `finish_reason`, or raises.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from tandem.core.cards import EngineFacts
from tandem.core.embeddings import EmbedOutput, EmbedRequest
from tandem.core.handoff import Handoff
from tandem.core.kv_events import KvEventBatch
from tandem.core.request import GenerateOutput, GenerateRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCapabilities:
    """What an adapter can do, so that nobody asks `if engine == …`."""

    order: Literal["prefill_first", "decode_first", "either"]
    """Which side of a hand-off must start first."""
    emits_first_token: bool
    """Prefill can hand over the first token before the KV."""
    local_prefill_ok: bool
    """A decode worker can also prefill."""
    on_kv_failure: Literal["error", "recompute"]
    """What `decode` does when the KV does not arrive: raise `KvTransferFailed`, or prefill by itself."""
    kv_events: bool
    embeds: bool = False
    """It makes embeddings and writes no text: the engine is an `EmbeddingEngine` too, and refuses `generate`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """What an engine is built from: our settings resolved, and the engine's own keys passed through."""

    model_path: str
    served_model_name: str
    roles: tuple[Literal["prefill", "decode"], ...]
    """Empty: an engine that never hands off (aggregated)."""
    side_channel_host: str = "127.0.0.1"
    """Address that peers use to fetch transfer metadata: routable from them."""
    engine_args: dict[str, Any]
    """The engine's own keys, as in the YAML with dashes turned to underscores, aliases already applied."""
    handoff_lease_s: float = 30.0
    """How long the engine keeps a hand-off's blocks that nobody reads."""
    seed: int = 0
    adapters: dict[str, str] = field(default_factory=dict)
    """LoRA adapters to serve: their folders by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLoad:
    """A glance at how busy an engine is."""

    running: int
    waiting: int
    kv_blocks_used: int
    kv_blocks_total: int
    waiting_prefill_tokens: int = 0
    """Prompt tokens of waiting requests, uncached as far as known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferTotals:
    """What the engine's own KV transfer counters say since it started."""

    kv_bytes: int = 0
    transfers: int = 0
    failures: int = 0
    seconds: float = 0.0


class EmbeddingEngine(Protocol):
    """An engine whose capabilities say that it embeds."""

    async def embed(self, request: EmbedRequest) -> EmbedOutput:
        """The embedding of some tokens. Cancelling it gives the request up.

        Raises:
            RequestError: the engine cannot take the request: too long, or dimensions that the model does not have.
            Overloaded, EngineFailed: as `Engine.generate`.
        """


T_co = TypeVar("T_co", covariant=True)

Take = Callable[[GenerateOutput], bool]
"""Given an output; False: not taken."""


class Outputs(Protocol[T_co]):
    """What an engine answers, as it comes: an async generator, or what behaves like one."""

    def __aiter__(self) -> AsyncIterator[T_co]: ...

    def __anext__(self) -> Awaitable[T_co]: ...

    def aclose(self) -> Awaitable[None]:
        """Abort the work, if it still runs, and free its blocks within a second. Safe to repeat."""


class RelayedOutputs(Outputs[GenerateOutput], Protocol):
    """Outputs of an engine whose step can hand them over itself: no task is woken for each. Optional."""

    async def relay(self, take: Take) -> None:
        """Give outputs to `take` where they arise, in order, until it refuses one, or one ends the answer.

        That one is the next that iterating yields, which also tells how an answer failed. `take` must not block; what
        it raises is raised here, and its output counts as refused.
        """


class Engine(Protocol):
    """One loaded model on one or more devices. Built by `load`, once; a dead engine is replaced, never revived."""

    capabilities: EngineCapabilities

    @property
    def facts(self) -> EngineFacts:
        """The engine's report. Known after `load`."""

    async def load(self) -> EngineFacts:
        """Load weights, allocate the cache, register memory for transfer. Nothing else in the process is open yet.

        Raises:
            ConfigError: a setting that this engine refuses, in its own words, with the key.
            EngineFailed: it did not come up.
        """

    def generate(self, request: GenerateRequest) -> Outputs[GenerateOutput]:
        """Prefill and decode here.

        Raises:
            RequestError: this engine cannot take the request (too long, a grammar that does not compile).
            Overloaded: the engine's own admission limit.
            EngineFailed: it died; every running request ends so.
        """

    def prefill(self, request: GenerateRequest, *, first_token: bool) -> Outputs[GenerateOutput | Handoff]:
        """Compute the prompt's KV and keep it for a peer.

        With `first_token`, yields a `GenerateOutput` with exactly the first token as soon as it is
        sampled (with its `finish_reason` if the answer ends there: then no hand-off follows and nothing
        stays pinned), and the `Handoff` covers prompt + first token. Without, only the `Handoff`.
        Closing the generator before the hand-off was yielded frees everything; after it, `release` does.
        """

    def decode(self, request: GenerateRequest, handoff: Handoff) -> Outputs[GenerateOutput]:
        """Fetch the hand-off's blocks and go on from there.

        `request.prompt_token_ids` must be exactly the tokens whose KV the hand-off covers (prompt, plus
        the first token where that was handed over, with `max_tokens` reduced by one).

        Raises:
            KvTransferFailed: the blocks did not arrive, or the hand-off is refused: made for other tokens, expired,
                read before. Nothing of it is kept, and the request may be prefilled again.
            RequestError, EngineFailed: as `generate`.
        """

    async def release(self, handoff: Handoff) -> None:
        """Free a hand-off's blocks that nobody will read. Called on the engine that made it. Safe to repeat."""

    def load_report(self) -> EngineLoad: ...

    def transfer_totals(self) -> TransferTotals: ...

    def kv_events(self) -> AsyncIterator[KvEventBatch]:
        """Batches since `load`, as far back as the engine keeps them; `seq` jumps only when the reader was very late.

        One reader. An engine may tell of a change only at its next step.
        """

    async def cached_tokens(self, request: GenerateRequest) -> int:
        """How many leading prompt tokens this engine would not compute anew for `request`, or 0 when it cannot tell.

        What another adapter or another cache salt left in the cache is not the request's to use.
        """

    async def reset_prefix_cache(self) -> bool:
        """Drop the reusable cache. False when blocks are still held by a request or an unread hand-off."""

    async def wait_dead(self) -> str:
        """Return, with the reason, when the engine has died."""

    async def aclose(self) -> None:
        """Stop and free. Safe to repeat."""
