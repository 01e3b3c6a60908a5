"""The prefill worker: takes jobs off the queue while its budget of uncached tokens lasts.

take ─► dead? ack ─► otherwise work (job.py), renewing the delivery meanwhile ─► ack when it is over, never before
"""

import asyncio
import logging
import time
from dataclasses import dataclass

from tandem.disagg.queue import PrefillQueue, TakenJob
from tandem.engines.ports import Engine
from tandem.errors import Unavailable
from tandem.observe import metrics
from tandem.runtime.ports import Runtime
from tandem.transport.ports import Delivery
from tandem.worker.job import JobRun
from tandem.worker.lanes import Lanes
from tandem.worker.load import Activity

log = logging.getLogger(__name__)

TAKE_TIMEOUT_S = 1.0
"""How long one look at the queue waits; also how soon a changed plan of lanes counts."""

CONTACT_TRIES = 3
"""A job whose owner cannot be reached goes back so often before it counts as dead: a cut link is not a death."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefillLimits:
    """How much a prefill worker takes on."""

    token_budget: int
    """Uncached prompt tokens in progress; one job is always allowed, however long."""
    verdict_wait_s: float = 60.0
    """Longest wait for a verdict after the hand-off. Seconds."""


class PrefillWorker:
    """Prefill role of an engine."""

    def __init__(
        self,
        engine: Engine,
        runtime: Runtime,
        *,
        queue: PrefillQueue,
        lanes: Lanes,
        limits: PrefillLimits,
        activity: Activity,
    ) -> None:
        self._engine = engine
        self._runtime = runtime
        self._queue = queue
        self._lanes = lanes
        self._limits = limits
        self._activity = activity
        self._room = asyncio.Event()
        self._room.set()
        self._jobs: set[asyncio.Task[None]] = set()
        self.tokens_in_progress = 0

    @property
    def running(self) -> int:
        """Jobs in progress."""
        return len(self._jobs)

    async def run(self) -> None:
        """Take and start jobs until cancelled; those in progress then go on until `drain`."""
        while True:
            await self._room.wait()
            try:
                taken = await self._queue.take(self._lanes.now(), timeout_s=TAKE_TIMEOUT_S)
            except Unavailable as away:
                log.warning("queue.away reason=%s", away)
                await asyncio.sleep(TAKE_TIMEOUT_S)
                continue
            for one in taken:
                self._start(one)

    async def drain(self, timeout_s: float) -> None:
        """Wait for the jobs in progress, at most `timeout_s`; what is left is given up and comes again elsewhere."""
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=timeout_s)
        for job in self._jobs:
            job.cancel()
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=1.0)

    def _start(self, taken: TakenJob) -> None:
        tokens = taken.job.request.prompt_tokens - taken.job.cached_tokens if taken.job else 0
        self.tokens_in_progress += tokens
        if self.tokens_in_progress >= self._limits.token_budget:
            self._room.clear()
        task = asyncio.get_running_loop().create_task(self._work(taken))
        self._jobs.add(task)

        def over(task: asyncio.Task[None]) -> None:
            self._jobs.discard(task)
            self.tokens_in_progress -= tokens
            if self.tokens_in_progress < self._limits.token_budget:
                self._room.set()
            if not task.cancelled() and (bug := task.exception()) is not None:
                log.error("prefill.bug lane=%s", taken.delivery.lane, exc_info=bug)

        task.add_done_callback(over)

    async def _work(self, taken: TakenJob) -> None:
        with self._activity.job():
            await self._until_over(taken)

    async def _until_over(self, taken: TakenJob) -> None:
        job, delivery = taken.job, taken.delivery
        if job is None:
            log.error("prefill.not_a_job lane=%s bytes=%d", delivery.lane, len(delivery.payload))
            outcome = "malformed"
        elif time.time() >= job.deadline:
            outcome = "deadline_passed"
        else:
            renewing = asyncio.get_running_loop().create_task(_renew(delivery, self._queue.ack_wait_s / 3))
            try:
                run = JobRun(
                    job,
                    delivery.number,
                    self._engine,
                    self._runtime,
                    verdict_wait_s=self._limits.verdict_wait_s,
                )
                outcome = await run.run()
            finally:
                renewing.cancel()
        metrics.PREFILL_JOBS.labels(outcome).inc()
        if outcome == "unreachable" and delivery.number < CONTACT_TRIES:
            await delivery.nak(delay_s=1.0)
        else:
            await delivery.ack()


async def _renew(delivery: Delivery, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        await delivery.in_progress()
