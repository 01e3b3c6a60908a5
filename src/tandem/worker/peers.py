"""What a decode worker knows of the prefill side: who lives, whose KV it can read, where to prefill a prompt."""

import logging
from collections.abc import Callable

from tandem.core.cards import InstanceCard, why_not_paired
from tandem.core.request import GenerateRequest
from tandem.disagg.queue import PrefillQueue
from tandem.disagg.rules import DisaggRules, PrefillSite, lane_for, prefill_site
from tandem.engines.ports import Engine
from tandem.runtime.ports import InstanceView

log = logging.getLogger(__name__)


class PrefillPeers:
    """Live prefill workers, seen from one decode engine.

    Args:
        view: live view of the component that takes prefill jobs.
        rules: asked for every request, so that live settings count at once.
    """

    def __init__(
        self, engine: Engine, *, view: InstanceView, queue: PrefillQueue, rules: Callable[[], DisaggRules]
    ) -> None:
        self.view = view
        self._engine = engine
        self._queue = queue
        self._rules = rules
        self._misfits: set[str] = set()

    def compatible(self) -> list[InstanceCard]:
        """Those whose KV our engine can read. A misfit is named once, loudly."""
        return [card for card in self.view.all() if self._fits(card)]

    def others_than(self, instance_id: str | None) -> bool:
        """Whether somebody else could take a job that `instance_id` lost."""
        return any(card.instance_id != instance_id for card in self.compatible())

    def may_read_from(self, instance_id: str) -> bool:
        """Whether nothing is known that speaks against reading a claimer's KV."""
        card = self.view.get(instance_id)
        return card is None or self._fits(card)

    def lane(self, job_id: str, preferred: str | None) -> str:
        """Where a job should wait."""
        fitting = [card.instance_id for card in self.compatible()]
        return lane_for(job_id, preferred, fitting, all_fit=len(fitting) == len(self.view.all()))

    async def site(self, request: GenerateRequest) -> PrefillSite:
        """Local or remote, from what is known now; asks engine and queue only where the rules need it."""
        rules = self._rules()
        queued = uncached = 0
        if rules.remote_prefill and rules.conditional_disagg:
            uncached = request.prompt_tokens - await self._engine.cached_tokens(request)
            if uncached > rules.max_local_prefill_length:
                queued = sum(lane.waiting for lane in (await self._queue.depth()).values())
        return prefill_site(
            rules,
            uncached_tokens=uncached,
            wants_prompt_logprobs=request.sampling.prompt_logprobs is not None,
            queued_jobs=queued,
            prefill_workers=len(self.view.all()),
            compatible_prefill_workers=len(self.compatible()),
            bus_connected=self._queue.connected,
        )

    def _fits(self, card: InstanceCard) -> bool:
        why = "its card names no engine" if card.engine is None else why_not_paired(card.engine, self._engine.facts)
        if why is not None and card.instance_id not in self._misfits:
            self._misfits.add(card.instance_id)
            log.error("prefill.not_paired prefill=%s reason=%s", card.instance_id, why)
        return why is None
