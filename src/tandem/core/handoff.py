"""The prefill job and its answer: all that a decode worker and a prefill worker say to each other.

    decode worker ── PrefillJob ──► queue ──► prefill worker
    prefill worker ── PrefillClaim ──► decode worker     the reply is a stream of verdicts, open as long as the job
    prefill worker ── PrefillProgress(first) ──► …       the first token, as soon as it is sampled
    prefill worker ── PrefillProgress(handoff) ──► …     where the KV blocks are
    decode worker ── Verdict("pulled" | "abandoned") ──► prefill worker acks the job

The claim's verdict stream is also the life line between the two: when either side dies, the other
sees its end of the stream break.
"""

from typing import Any, Literal

import msgspec

from tandem.core.request import GenerateOutput, GenerateRequest
from tandem.core.story import Stage


class PrefillJob(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Compute this prompt's KV and offer it to `decode_address`."""

    job_id: str
    """Names this request's stay on its decode worker. A client may reuse a request id; nobody reuses this."""
    request: GenerateRequest
    attempt: int
    """1 for the first job of a request, 2 for the one after a lost prefill."""
    decode_instance: str
    decode_address: str
    deadline: float
    """Unix time in seconds; later than this nobody waits, and whoever meets the job acks it as dead."""
    enqueued_at: float
    first_token: bool
    """Whether the prefill worker's first sampled token is the answer's first token (see disagg/rules.py)."""
    cached_tokens: int = 0
    """Prompt tokens that the decode worker already holds, if it knows."""
    decode_block_size_tokens: int = 0
    decode_kv_layout: str = ""


class Fence(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Which try of a request's prefill speaks. A lower fence than the last one heard is too late."""

    attempt: int
    delivery: int


class PrefillClaim(msgspec.Struct, frozen=True, kw_only=True):
    """A prefill worker has taken the job."""

    job_id: str
    fence: Fence
    prefill_instance: str
    engine_id: str


class Handoff(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a prefilled prompt's KV blocks wait. Single use, and only until `expires_at`."""

    engine: str
    engine_id: str
    num_tokens: int
    """Tokens whose KV is there: the prompt, plus the first token where that was handed over too."""
    expires_at: float
    """Unix time in seconds, well under the engine's own lease: reading later could read another prompt's blocks."""
    direction: Literal["pull", "push"] = "pull"
    opaque: dict[str, Any] = {}
    """The engine's own parameters, passed on untouched and never taken from a client."""


class PrefillProgress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a claimed job has come to. Sent once with `first`, once with `handoff` or `failure`."""

    job_id: str
    fence: Fence
    first: GenerateOutput | None = None
    """The first token. With a finish_reason the answer is complete and no KV is needed."""
    handoff: Handoff | None = None
    failure: str | None = None
    """Why there will be no hand-off: a `ServingError` code."""
    failure_message: str = ""
    retry_elsewhere: bool = False
    """Whether another prefill worker might succeed where this one failed."""
    stages: list[Stage] = []


VerdictKind = Literal["go", "dead", "cancel", "pulled", "abandoned"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the decode worker says of a claim.

    go: work on it. dead: nobody waits for it (ack and forget). cancel: stop, free everything.
    pulled: the KV arrived. abandoned: the hand-off will not be read, free its blocks.
    """

    kind: VerdictKind
