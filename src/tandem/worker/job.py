"""One prefill job on a prefill worker, from the claim to its verdict.

claim ──► "go" ──► engine.prefill ──► progress(first token) ──► progress(hand-off) ──► "pulled" │ "abandoned"
      └─► "dead"          └─ any verdict, or a broken stream, stops the engine and frees the blocks
"""

import asyncio
import logging
import time
from contextlib import aclosing
from typing import Any, Literal, TypeVar

from tandem.core.handoff import Fence, Handoff, PrefillClaim, PrefillJob, PrefillProgress, Verdict
from tandem.core.request import GenerateOutput
from tandem.engines.ports import Engine
from tandem.errors import ServingError
from tandem.observe import metrics, stages
from tandem.runtime.ports import Answers, Runtime
from tandem.worker.notes import Notes

log = logging.getLogger(__name__)

Outcome = Literal["dead", "cancel", "pulled", "abandoned", "failed", "owner_lost", "unreachable", "no_verdict"]
"""How a job ended: the decode worker's verdict, or why there was none. unreachable: the claim was never answered."""

_Message = TypeVar("_Message", PrefillClaim, PrefillProgress)


class _OwnerGone(Exception):
    """The decode worker could not be told. Not a `ServingError`: it must not be mistaken for the engine's."""


class JobRun:
    """Works on one job until its verdict.

    Args:
        delivery: the delivery's number; with the job's attempt it is the fence.
        verdict_wait_s: longest wait for a verdict after the hand-off. Seconds.
    """

    def __init__(
        self,
        job: PrefillJob,
        delivery: int,
        engine: Engine,
        runtime: Runtime,
        *,
        verdict_wait_s: float,
    ) -> None:
        self._job = job
        self._fence = Fence(job.attempt, delivery)
        self._engine = engine
        self._runtime = runtime
        self._verdict_wait_s = verdict_wait_s
        self._notes = Notes(runtime.instance_id)
        self._handoff: Handoff | None = None
        self._claimed = False
        self._failed = False

    async def run(self) -> Outcome:
        """Claim, prefill, hand over, wait for the verdict. What goes wrong is the outcome, not an exception."""
        outcome: Outcome = "unreachable"
        try:
            outcome = await self._claim()
        except (ServingError, _OwnerGone) as lost:
            outcome = "owner_lost" if self._claimed else "unreachable"
            log.warning("prefill.%s job_id=%s reason=%s", outcome, self._job.job_id, lost)
        finally:
            if self._handoff is not None and outcome != "pulled":
                await self._engine.release(self._handoff)
        return "failed" if self._failed else outcome

    async def _claim(self) -> Outcome:
        claim = PrefillClaim(
            job_id=self._job.job_id,
            fence=self._fence,
            prefill_instance=self._runtime.instance_id,
            engine_id=self._engine.facts.engine_id,
        )
        async with aclosing(self._call("claim", claim)) as verdicts:
            answer = await anext(verdicts, None)
            if answer is None:
                return "unreachable"
            if answer.kind != "go":
                return answer.kind
            self._claimed = True
            return await self._until_verdict(verdicts)

    async def _until_verdict(self, verdicts: Answers[Verdict]) -> Outcome:
        prefilling = asyncio.ensure_future(self._prefill())
        hearing = asyncio.ensure_future(anext(verdicts, None))
        try:
            await asyncio.wait({prefilling, hearing}, return_when=asyncio.FIRST_COMPLETED)
            if not hearing.done():
                prefilling.result()
                await asyncio.wait({hearing}, timeout=self._verdict_wait_s)
            if not hearing.done():
                return "no_verdict"
            verdict = hearing.result()
            return "owner_lost" if verdict is None or verdict.kind == "go" else verdict.kind
        finally:
            for task in (prefilling, hearing):
                task.cancel()
            await asyncio.gather(prefilling, hearing, return_exceptions=True)

    async def _prefill(self) -> None:
        """Run the engine and report what it gives. An engine's failure is reported too, then the verdict decides."""
        waited_s = max(0.0, time.time() - self._job.enqueued_at)
        metrics.PREFILL_QUEUE_SECONDS.observe(waited_s)
        self._notes.add(stages.PREFILL_CLAIMED, duration_s=waited_s, attempt=self._job.attempt)
        begun = time.monotonic()
        try:
            async with aclosing(self._engine.prefill(self._job.request, first_token=self._job.first_token)) as answers:
                async for answer in answers:
                    if isinstance(answer, GenerateOutput):
                        await self._report(first=answer)
                    else:
                        self._handoff = answer
                        took_s = time.monotonic() - begun
                        metrics.PREFILL_SECONDS.observe(took_s)
                        self._notes.add(
                            stages.PREFILL,
                            duration_s=took_s,
                            site="remote",
                            prompt_tokens=self._job.request.prompt_tokens,
                        )
                        await self._report(handoff=answer, stages=self._notes.stages)
        except ServingError as failure:
            self._failed = True
            await self._report(
                failure=failure.code, failure_message=failure.message, retry_elsewhere=failure.retry != "never"
            )

    async def _report(self, **what: Any) -> None:
        progress = PrefillProgress(job_id=self._job.job_id, fence=self._fence, **what)
        try:
            async with aclosing(self._call("progress", progress)) as heard:
                await anext(heard, None)
        except ServingError as lost:
            raise _OwnerGone(str(lost)) from lost

    def _call(self, endpoint: str, message: _Message) -> Answers[Verdict]:
        return self._runtime.call(
            self._job.decode_address,
            endpoint,
            message,
            Verdict,
            request_id=self._job.request.request_id,
            deadline=self._job.deadline if endpoint == "progress" else None,
        )
