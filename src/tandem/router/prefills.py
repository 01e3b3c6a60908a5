"""How long a worker's prefill queue is, as told by what we sent there and have not seen come out.

Reports come a few times a second, a burst in between; so a router counts its own sends at once, takes them
back at the first token, and learns from both how fast each worker is. Pure state; times are passed in.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

DEFAULT_TOKENS_PER_S: Final = 8000.0
"""Prefill speed of a worker that nobody has seen work; only its ratio to other workers matters."""
_MEMORY_S: Final = 30.0
"""Busy time over which a speed is averaged."""
_HEAD_FLOOR: Final = 0.1
"""Share of the oldest prompt that counts as not done until its first token comes."""


@dataclass(slots=True)
class _Sent:
    tokens: int
    at: float


@dataclass(slots=True)
class PrefillQueue:
    """One worker's prompts under way, ours only."""

    tokens: int = 0
    """Prompt tokens sent there to compute whose first token has not come."""
    _open: OrderedDict[str, _Sent] = field(default_factory=OrderedDict)
    _began: float = 0.0
    """When the oldest prompt's turn came."""
    _busy_s: float = 0.0
    _done_tokens: float = 0.0
    _seen_speed: float = 0.0

    def sent(self, request_id: str, tokens: int, now: float) -> None:
        """A prompt with so many uncached tokens went there."""
        if not self._open:
            self._began = now
        self._open[request_id] = _Sent(tokens, now)
        self.tokens += tokens

    def first_token(self, request_id: str, now: float) -> None:
        """Its prefill is done. Safe to repeat."""
        done = self._open.pop(request_id, None)
        if done is None:
            return
        self.tokens -= done.tokens
        self._busy_s += max(0.0, now - self._began)
        self._done_tokens += done.tokens
        if self._busy_s > _MEMORY_S:
            self._busy_s, self._done_tokens = self._busy_s / 2, self._done_tokens / 2
        if self._busy_s >= 1.0 and self._done_tokens >= 1000:
            self._seen_speed = self._done_tokens / self._busy_s
        self._began = now

    def left(self, request_id: str, now: float) -> None:
        """It was cancelled or failed: what was computed of it is not known."""
        gone = self._open.pop(request_id, None)
        if gone is not None:
            self.tokens -= gone.tokens
            self._began = now if not self._open else self._began

    def speed(self, otherwise: float) -> float:
        """Tokens per second; `otherwise` until enough was seen."""
        return self._seen_speed or otherwise

    def wait_s(self, now: float, speed: float) -> float:
        """Until it would begin with one more prompt."""
        if not self._open:
            return 0.0
        head = next(iter(self._open.values()))
        computed = min((now - self._began) * speed, head.tokens * (1 - _HEAD_FLOOR))
        return (self.tokens - computed) / speed
