"""Requests and tokens per minute and per day, by key: token buckets, pure. Times are seconds of a monotonic clock.

A bucket holds as much as its limit and refills evenly, so that a limit of 60 per minute lets 60 come at once and
then one each second. Tokens are taken by estimate when a request comes in (prompt and asked-for output) and put
right when the truth is known; a request that took more than was left is answered, and the next ones wait.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from tandem.frontend.guard.keys import KeyEntry

Unit = Literal["requests", "tokens"]
MINUTE_S: Final = 60.0
DAY_S: Final = 86_400.0
_CRUMB: Final = 1e-6
"""What rounding may have lost."""


@dataclass(slots=True)
class Bucket:
    """`limit` per `period_s`."""

    limit: int
    period_s: float
    level: float
    """What is left; negative after a request that cost more than was thought."""
    at: float
    """When `level` was true."""

    def left(self, now: float) -> float:
        """What is left now."""
        if now > self.at:
            self.level = min(float(self.limit), self.level + (now - self.at) * self.limit / self.period_s)
            self.at = now
        return self.level

    def wait_s(self, amount: float, now: float) -> float:
        """Until `amount` is there; 0 if it is. More than the limit is there when the bucket is full."""
        missing = min(amount, self.limit) - self.left(now)
        return missing * self.period_s / self.limit if missing > _CRUMB else 0.0

    def take(self, amount: float, now: float) -> None:
        """Take out `amount`, or put it back when negative."""
        self.level = min(float(self.limit), self.left(now) - amount)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A limit that is used up."""

    unit: Unit
    limit: int
    period_s: float
    retry_after_s: float


@dataclass(frozen=True, slots=True)
class Standing:
    """A limit and what is left of it, for the answer's headers."""

    limit: int
    remaining: int
    reset_s: float
    """Until it is whole again."""


@dataclass(slots=True)
class Meter:
    """What one key has left."""

    buckets: dict[tuple[Unit, float], Bucket] = field(default_factory=dict)
    untold: dict[Unit, int] = field(default_factory=dict)
    """What was taken since others were last told."""

    def fit(self, entry: KeyEntry, now: float) -> None:
        """Take over the limits of `entry`, which may have changed; what was used stays used."""
        for unit, period_s, limit in _limits(entry):
            old = self.buckets.get((unit, period_s))
            if limit is None:
                self.buckets.pop((unit, period_s), None)
            elif old is None:
                self.buckets[unit, period_s] = Bucket(limit, period_s, limit, now)
            elif old.limit != limit:
                used = old.limit - old.left(now)
                self.buckets[unit, period_s] = Bucket(limit, period_s, limit - used, now)

    def counts(self, unit: Unit) -> bool:
        """Whether there is a limit of `unit`."""
        return any(of == unit for of, _ in self.buckets)

    def take(self, unit: Unit, amount: int, now: float) -> Refusal | None:
        """Take `amount` from every limit of `unit`, or nothing: then the limit that takes longest to refill."""
        mine = [bucket for (of, _), bucket in self.buckets.items() if of == unit]
        if not mine:
            return None
        worst = max(mine, key=lambda bucket: bucket.wait_s(amount, now))
        if (wait_s := worst.wait_s(amount, now)) > 0:
            return Refusal(unit, worst.limit, worst.period_s, wait_s)
        self.correct(unit, amount, now)
        return None

    def correct(self, unit: Unit, more: int, now: float) -> None:
        """It was `more` than was taken; negative gives back."""
        self.untold[unit] = self.untold.get(unit, 0) + more
        self.heard(unit, more, now)

    def heard(self, unit: Unit, more: int, now: float) -> None:
        """So much was taken elsewhere."""
        for (of, _), bucket in self.buckets.items():
            if of == unit:
                bucket.take(more, now)

    def standing(self, unit: Unit, now: float) -> Standing | None:
        """The limit of `unit` of which least is left."""
        mine = [bucket for (of, _), bucket in self.buckets.items() if of == unit]
        if not mine:
            return None
        least = min(mine, key=lambda bucket: bucket.left(now))
        return Standing(least.limit, max(0, int(least.left(now))), least.wait_s(least.limit, now))


class Quotas:
    """The meters of all keys."""

    def __init__(self) -> None:
        self._meters: dict[str, tuple[KeyEntry, Meter]] = {}

    def meter(self, entry: KeyEntry, now: float) -> Meter | None:
        """What a key has left; None for one without limits."""
        known = self._meters.get(entry.name)
        if known is not None and known[0] is entry:
            return known[1] if known[1].buckets else None
        meter = known[1] if known else Meter()
        meter.fit(entry, now)
        self._meters[entry.name] = (entry, meter)
        return meter if meter.buckets else None

    def untold(self) -> dict[str, dict[Unit, int]]:
        """What each key has spent since this was last asked: for the others that serve it."""
        found = {}
        for name, (_, meter) in self._meters.items():
            if spent := {unit: amount for unit, amount in meter.untold.items() if amount}:
                found[name] = spent
            meter.untold.clear()
        return found

    def keep_only(self, names: set[str]) -> None:
        """Forget keys that are gone."""
        for name in self._meters.keys() - names:
            del self._meters[name]


@dataclass(slots=True)
class Charge:
    """Tokens that were taken for one request by estimate, put right as the truth comes in."""

    meter: Meter
    prompt_tokens: int
    output_tokens: int

    def prompt_is(self, tokens: int, now: float) -> None:
        """The prompt's length is known; the output stays reserved."""
        self.meter.correct("tokens", tokens - self.prompt_tokens, now)
        self.prompt_tokens = tokens

    def settle(self, tokens: int, now: float) -> None:
        """The request has cost so much in all; the rest is given back."""
        self.meter.correct("tokens", tokens - self.prompt_tokens - self.output_tokens, now)
        self.prompt_tokens, self.output_tokens = tokens, 0


def ratelimit_headers(meter: Meter, now: float) -> Iterator[tuple[str, str]]:
    """What is left, in the headers that OpenAI's clients read."""
    units: tuple[Unit, ...] = ("requests", "tokens")
    for unit in units:
        if (standing := meter.standing(unit, now)) is not None:
            yield f"x-ratelimit-limit-{unit}", str(standing.limit)
            yield f"x-ratelimit-remaining-{unit}", str(standing.remaining)
            yield f"x-ratelimit-reset-{unit}", duration(standing.reset_s)


def duration(seconds: float) -> str:
    """As OpenAI writes it: `20ms`, `1.5s`, `6m0s`, `1h0m30s`."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    if seconds < MINUTE_S:
        return f"{round(seconds, 3):g}s"
    whole = round(seconds)
    hours, minutes = f"{whole // 3600}h" if whole >= 3600 else "", whole % 3600 // 60
    return f"{hours}{minutes}m{whole % 60}s"


def _limits(entry: KeyEntry) -> tuple[tuple[Unit, float, int | None], ...]:
    return (
        ("requests", MINUTE_S, entry.requests_per_minute),
        ("requests", DAY_S, entry.requests_per_day),
        ("tokens", MINUTE_S, entry.tokens_per_minute),
        ("tokens", DAY_S, entry.tokens_per_day),
    )
