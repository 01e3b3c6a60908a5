"""What every adapter checks of a hand-off before an engine sees it. Reading a wrong one would answer wrongly, not fail.

An adapter's `opaque` is `{"digest": prompt_digest(tokens), …}`: a hand-off for other tokens is refused
even when the lengths agree.
"""

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from tandem.core.handoff import Handoff
from tandem.errors import KvTransferFailed

LEASE_SHARE = 0.6
"""Our own deadline as a share of the engine's lease: a read that begins in time also ends in time."""


def prompt_digest(token_ids: Iterable[int]) -> str:
    """Identity of a token sequence, 64 bits in hexadecimal."""
    return hashlib.blake2b(array("q", token_ids).tobytes(), digest_size=8).hexdigest()


class HandoffCheck:
    """The decode side's gate: right engine, right tokens, in time, complete, and never twice."""

    def __init__(self, engine: str, *, required: Sequence[str] = ()) -> None:
        self._engine = engine
        self._required = tuple(required)
        self._used: OrderedDict[str, float] = OrderedDict()
        """Hand-offs read here and when they expire: later than that, the time alone refuses them."""

    def admit(self, handoff: Handoff, token_ids: Sequence[int], *, now: float) -> None:
        """Mark it as used, or refuse.

        Raises:
            KvTransferFailed: with the reason; nothing was read, so the prompt may be prefilled again.
        """
        reason = self._fault(handoff, token_ids, now)
        if reason is not None:
            raise KvTransferFailed(f"hand-off of engine {handoff.engine_id} refused: {reason}")
        while self._used and next(iter(self._used.values())) < now:
            self._used.popitem(last=False)
        self._used[f"{handoff.engine_id}/{handoff.opaque['id']}"] = handoff.expires_at

    def _fault(self, handoff: Handoff, token_ids: Sequence[int], now: float) -> str | None:
        if handoff.engine != self._engine:
            return f"made by {handoff.engine!r}, read by {self._engine!r}"
        if handoff.direction != "pull":
            return f"direction {handoff.direction!r} is not supported"
        missing = [key for key in ("id", "digest", *self._required) if handoff.opaque.get(key) is None]
        if missing:
            return f"lacks {', '.join(missing)}"
        if handoff.num_tokens != len(token_ids):
            return f"it covers {handoff.num_tokens} tokens, the prompt has {len(token_ids)}"
        if handoff.opaque["digest"] != prompt_digest(token_ids):
            return "it covers other tokens than the prompt's"
        if now >= handoff.expires_at:
            return f"expired {now - handoff.expires_at:.1f} s ago"
        if f"{handoff.engine_id}/{handoff.opaque['id']}" in self._used:
            return "already read once"
        return None
