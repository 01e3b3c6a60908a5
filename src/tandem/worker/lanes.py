"""Which lanes of the prefill queue a worker takes from: its own first, the common one, then others' that wait too long.

A lane whose owner is gone is emptied into the common one by whoever notices.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass

from tandem.core.cards import EngineFacts, InstanceCard, why_not_paired
from tandem.disagg.queue import PrefillQueue
from tandem.disagg.rules import COMMON_LANE
from tandem.errors import Unavailable
from tandem.runtime.ports import InstanceView
from tandem.transport.ports import LaneDepth

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LanePlan:
    """What to take from, in order; what to drop; since when other workers' lanes have jobs waiting."""

    take: list[str]
    drop: list[str]
    waiting_since: dict[str, float]


def plan_lanes(
    own: str,
    depths: Mapping[str, LaneDepth],
    *,
    alive: Set[str],
    alike: Set[str],
    waiting_since: Mapping[str, float],
    now: float,
    steal_after_s: float,
) -> LanePlan:
    """Decide from one look at the queue.

    Args:
        alike: workers whose jobs we could do: decode workers that read their KV can read ours.
        waiting_since: the previous plan's.
    """
    others = {lane: depth for lane, depth in depths.items() if lane not in (own, COMMON_LANE)}
    since = {
        lane: waiting_since.get(lane, now) for lane, depth in others.items() if lane in alike and depth.waiting > 0
    }
    late = sorted((lane for lane, begun in since.items() if now - begun >= steal_after_s), key=since.__getitem__)
    gone = sorted(lane for lane in others if lane not in alive)
    return LanePlan([own, COMMON_LANE, *late], gone, since)


class Lanes:
    """A prefill worker's current plan, renewed by `watch`."""

    def __init__(
        self,
        own: str,
        *,
        facts: EngineFacts,
        queue: PrefillQueue,
        prefill_workers: InstanceView,
        steal_after_s: float,
    ) -> None:
        self._own = own
        self._facts = facts
        self._queue = queue
        self._prefill_workers = prefill_workers
        self._steal_after_s = steal_after_s
        self._plan = LanePlan([own, COMMON_LANE], [], {})

    def now(self) -> list[str]:
        """Lanes to take from, preferred first."""
        return self._plan.take

    async def watch(self) -> None:
        """Look at the queue every half `steal_after_s`, until cancelled."""
        while True:
            await asyncio.sleep(self._steal_after_s / 2)
            try:
                depths, there = await self._queue.depth(), self._prefill_workers.all()
                self._plan = plan_lanes(
                    self._own,
                    depths,
                    alive={card.instance_id for card in there},
                    alike={card.instance_id for card in there if self._alike(card)},
                    waiting_since=self._plan.waiting_since,
                    now=time.monotonic(),
                    steal_after_s=self._steal_after_s,
                )
                for lane in self._plan.drop:
                    log.info("queue.lane_dropped lane=%s reason=owner_gone", lane)
                    await self._queue.drop_lane(lane, into=COMMON_LANE)
            except Unavailable as away:
                log.debug("queue.away reason=%s", away)

    def _alike(self, card: InstanceCard) -> bool:
        return card.engine is not None and why_not_paired(card.engine, self._facts) is None
