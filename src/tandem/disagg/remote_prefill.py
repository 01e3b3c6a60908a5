"""One remote prefill, from the queue to the first decoded token, as a state machine without I/O.

    queued ──Claimed──► claimed ──HandoffArrived──► pulling ──Decoded──► decoding
      │                    │                           │
      │                    └─ ClaimLost, PrefillFailed ─┴─ PullFailed ─► once more: queued, attempt 2
      └────────── Waited, NobodyLeft, QueueRefused ────────────────────► here (prefill locally)
    any ──Ended──► ended

`step` returns the next state and what to do. Late, repeated or forged events are answered with
`Tell(fence, "dead")` or ignored: the queue delivers at least once, and a prefill worker that was
thought lost may come back. The fence (attempt, delivery) says which try speaks; a lower one than the
last heard is too late.
"""

from dataclasses import dataclass, replace
from typing import Literal

from tandem.core.handoff import Fence, Handoff, VerdictKind
from tandem.core.request import GenerateOutput

Phase = Literal["queued", "claimed", "pulling", "decoding", "here", "ended"]
MAX_ATTEMPTS = 2
"""A lost prefill is queued once more, then done here (DESIGN rule 2)."""


# ── events ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Claimed:
    """A prefill worker has taken the job."""

    fence: Fence


@dataclass(frozen=True, slots=True)
class FirstToken:
    """It sampled the first token (and maybe the answer ends there)."""

    fence: Fence
    output: GenerateOutput


@dataclass(frozen=True, slots=True)
class HandoffArrived:
    """The prompt's KV is ready to be read."""

    fence: Fence
    handoff: Handoff


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimLost:
    """The claimer vanished, or said that it failed. `retry_ok`: another prefill worker lives and time allows."""

    fence: Fence
    reason: str
    retry_ok: bool


@dataclass(frozen=True, slots=True)
class Decoded:
    """The decode engine gave its first output: the KV arrived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullFailed:
    """The decode engine could not read the KV."""

    reason: str
    retry_ok: bool


@dataclass(frozen=True, slots=True)
class Waited:
    """Nothing decisive happened in time, or nobody is left who could do it, or the queue refused the job."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The request is over: finished, failed, or its client went away."""


Event = Claimed | FirstToken | HandoffArrived | ClaimLost | Decoded | PullFailed | Waited | Ended


# ── effects ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Enqueue:
    """Put the job, as this attempt, on the queue."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take this attempt's job off the queue if nobody has it."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Give a claim its verdict."""

    fence: Fence
    verdict: VerdictKind


@dataclass(frozen=True, slots=True)
class Emit:
    """Send the first token on; with a finish_reason the answer is complete."""

    output: GenerateOutput


@dataclass(frozen=True, slots=True)
class StartDecode:
    """Let the decode engine read the KV and go on."""

    handoff: Handoff


@dataclass(frozen=True, slots=True)
class PrefillHere:
    """Prefill on this worker after all; counted as a fallback with this reason."""

    reason: str


Effect = Enqueue | Withdraw | Tell | Emit | StartDecode | PrefillHere


@dataclass(frozen=True, slots=True)
class RemotePrefill:
    """Where one remote prefill stands."""

    phase: Phase = "queued"
    attempt: int = 1
    fence: Fence | None = None
    """The claim we listen to."""
    emitted: bool = False
    """Whether this attempt's first token has been passed on."""


def begin() -> tuple[RemotePrefill, list[Effect]]:
    """A fresh remote prefill: its job goes on the queue."""
    return RemotePrefill(), [Enqueue(1)]


def step(s: RemotePrefill, event: Event) -> tuple[RemotePrefill, list[Effect]]:
    """What happens next."""
    match event:
        case Claimed(fence):
            return _claimed(s, fence)
        case FirstToken(fence, output):
            if s.phase != "claimed" or fence != s.fence or s.emitted:
                return s, []
            if output.finish_reason is not None:
                return replace(s, phase="ended", emitted=True), [Emit(output), Tell(fence, "pulled")]
            return replace(s, emitted=True), [Emit(output)]
        case HandoffArrived(fence, handoff):
            if s.phase != "claimed" or fence != s.fence:
                return s, [Tell(fence, "abandoned")]
            return replace(s, phase="pulling"), [StartDecode(handoff)]
        case Decoded() if s.phase == "pulling" and s.fence is not None:
            return replace(s, phase="decoding"), [Tell(s.fence, "pulled")]
        case ClaimLost() if s.phase == "claimed" and event.fence == s.fence:
            return _recover(s, event.reason, retry_ok=event.retry_ok, verdict="cancel")
        case PullFailed() if s.phase in ("pulling", "decoding"):  # an engine may also say so after its first output
            return _recover(s, event.reason, retry_ok=event.retry_ok, verdict="abandoned")
        case Waited(reason) if s.phase == "queued":
            return replace(s, phase="here"), [Withdraw(s.attempt), PrefillHere(reason)]
        case Waited(reason) if s.phase == "claimed":
            return _recover(s, reason, retry_ok=False, verdict="cancel")
        case Ended() if s.phase != "ended":
            return replace(s, phase="ended"), _farewell(s)
        case _:
            return s, []


def _claimed(s: RemotePrefill, fence: Fence) -> tuple[RemotePrefill, list[Effect]]:
    """Take the newest claim. A redelivery (the first claimer went silent) replaces the claim it overtakes."""
    waiting = s.phase in ("queued", "claimed")
    if not waiting or fence.attempt != s.attempt or (s.fence is not None and fence <= s.fence) or s.emitted:
        return s, [Tell(fence, "dead")]
    overtaken: list[Effect] = [Tell(s.fence, "cancel")] if s.phase == "claimed" and s.fence is not None else []
    return replace(s, phase="claimed", fence=fence), [*overtaken, Tell(fence, "go")]


def _recover(
    s: RemotePrefill, reason: str, *, retry_ok: bool, verdict: VerdictKind
) -> tuple[RemotePrefill, list[Effect]]:
    farewell: list[Effect] = [Tell(s.fence, verdict)] if s.fence is not None else []
    farewell.append(Withdraw(s.attempt))
    if retry_ok and s.attempt < MAX_ATTEMPTS:
        again = s.attempt + 1
        return replace(s, phase="queued", attempt=again, emitted=False), [*farewell, Enqueue(again)]
    return replace(s, phase="here"), [*farewell, PrefillHere(reason)]


def _farewell(s: RemotePrefill) -> list[Effect]:
    match s.phase:
        case "queued":
            return [Withdraw(s.attempt)]
        case "claimed":
            return [Withdraw(s.attempt), *([Tell(s.fence, "cancel")] if s.fence else [])]
        case "pulling":
            return [Tell(s.fence, "abandoned")] if s.fence else []
        case _:
            return []
