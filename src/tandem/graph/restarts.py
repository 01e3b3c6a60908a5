"""When a crashed process comes back. Pure: the supervisor owns the clock."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartRules:
    """The settings that `after_crash` weighs; see `SupervisorSettings`."""

    max_restarts: int
    restart_window_s: float
    restart_delay_s: float
    restart_delay_max_s: float


@dataclass(frozen=True, slots=True)
class Restart:
    """Start it again after this many seconds."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It keeps failing; whoever supervises us should know."""

    crashes: int


def after_crash(rules: RestartRules, crashes: Sequence[float], now: float) -> Restart | GiveUp:
    """What to do about a crash at `now`, which `crashes` (times, oldest first) already holds.

    The pause doubles with each crash in the window; a crash that has left the window is forgiven.
    """
    recent = [at for at in crashes if now - at <= rules.restart_window_s]
    if len(recent) > rules.max_restarts:
        return GiveUp(len(recent))
    return Restart(min(rules.restart_delay_s * 2 ** max(0, len(recent) - 1), rules.restart_delay_max_s))
