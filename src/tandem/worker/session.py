"""One remote prefill as its decode worker sees it.

Feeds events to the state machine of `disagg.remote_prefill`. Verdicts and withdrawals are carried out at
once, since prefill workers wait for them; what concerns the token stream waits in `todo` for whoever reads it.
"""

import asyncio
from collections.abc import Callable

from tandem.core.handoff import Fence, Verdict
from tandem.core.story import Stage
from tandem.disagg.remote_prefill import Effect, Ended, Event, Tell, Withdraw, begin, step

LAST_WORDS = frozenset({"dead", "cancel", "pulled", "abandoned"})
"""Verdicts after which a claim is over."""


class RemoteSession:
    """State, claims and things to do for one job id.

    Args:
        stages: where the prefill worker's part of the story is added.
        withdraw: takes an attempt's job off the queue, in the background.
    """

    def __init__(self, job_id: str, *, stages: list[Stage], withdraw: Callable[[str, int], None]) -> None:
        self.job_id = job_id
        self.stages = stages
        self.claimer: str | None = None
        """Instance whose claim we listen to, or listened to last."""
        self.todo: asyncio.Queue[Effect] = asyncio.Queue()
        self._withdraw = withdraw
        self._claims: dict[Fence, asyncio.Queue[Verdict]] = {}
        self.state, effects = begin()
        self._carry_out(effects)

    def dispatch(self, event: Event) -> None:
        """Step the machine and carry out what cannot wait."""
        self.state, effects = step(self.state, event)
        self._carry_out(effects)

    def open_claim(self, fence: Fence) -> asyncio.Queue[Verdict]:
        """Where verdicts on this claim will appear."""
        return self._claims.setdefault(fence, asyncio.Queue())

    def close_claim(self, fence: Fence) -> None:
        """Nobody listens for verdicts on this claim any more."""
        self._claims.pop(fence, None)

    def close(self) -> None:
        """The request is over, however it ended: every claim still open hears of it."""
        self.dispatch(Ended())
        for claim in self._claims.values():
            claim.put_nowait(Verdict(kind="dead"))

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Tell(fence, kind):
                    if fence in self._claims:
                        self._claims[fence].put_nowait(Verdict(kind=kind))
                case Withdraw(attempt):
                    self._withdraw(self.job_id, attempt)
                case _:
                    self.todo.put_nowait(effect)
