"""The decode worker: owns a request from the processor's call to the last token.

    generate ─► where to prefill? ─► here:    engine.generate
                                  └► remote:  queue ─► claim ─► first token ─► hand-off ─► engine.decode   (remote.py)

Endpoints: `generate` for processors; `claim` and `progress` for the prefill workers that take its jobs.
"""

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from tandem.core.handoff import PrefillClaim, PrefillProgress, Verdict
from tandem.core.request import GenerateOutput, GenerateRequest, Step, compact
from tandem.disagg.remote_prefill import Claimed, ClaimLost, FirstToken, HandoffArrived, Waited
from tandem.disagg.rules import FALLBACKS
from tandem.engines.ports import Take
from tandem.observe import metrics, stages
from tandem.runtime.calls import pusher
from tandem.worker.load import Activity
from tandem.worker.local import generate_here
from tandem.worker.notes import Notes
from tandem.worker.remote import DecodeParts, RemoteRun
from tandem.worker.session import LAST_WORDS, RemoteSession

log = logging.getLogger(__name__)


class DecodeWorker:
    """Decode role of an engine."""

    def __init__(self, parts: DecodeParts, activity: Activity) -> None:
        self._parts = parts
        self._activity = activity
        self._sessions: dict[str, tuple[RemoteSession, RemoteRun]] = {}
        self._chores: set[asyncio.Task[bool]] = set()

    async def generate(self, request: GenerateRequest, take: Take) -> AsyncGenerator[GenerateOutput, None]:
        """Serve one request, less the tokens that are taken. The last output carries the story of how it was made."""
        notes = Notes(self._parts.identity.instance_id)
        with self._activity.request():
            site = await self._parts.peers.site(request)
            where = "remote" if site.remote else "local"
            metrics.PREFILL_DECISIONS.labels(where, site.reason).inc()
            notes.add(stages.PREFILL_DECISION, site=where, reason=site.reason)
            if site.reason in FALLBACKS:
                self._parts.count_fallback(request.request_id, site.reason)
            if site.remote:
                source = self._remote(request, notes, take)
            else:
                source = generate_here(self._parts.engine, request, notes, take)
            async with aclosing(source) as outputs:
                async for output in outputs:
                    if output.finish_reason is not None:
                        output = msgspec.structs.replace(output, story=notes.stages)
                    yield output

    async def steps(self, request: GenerateRequest) -> AsyncGenerator[Step, None]:
        """The outputs of `generate` as they travel: tokens where they arise, the others one by one."""
        push = pusher()
        async with aclosing(self.generate(request, lambda output: push(compact(output)))) as outputs:
            async for output in outputs:
                yield compact(output)

    async def claim(self, claim: PrefillClaim) -> AsyncGenerator[Verdict, None]:
        """A prefill worker has taken a job. Answers at once, then stays open until the job is over.

        The stream is a life line: if the prefill worker goes, it breaks, and we learn of it here.
        """
        found = self._sessions.get(claim.job_id)
        if found is None:
            yield Verdict(kind="dead")
            return
        session, run = found
        if not self._parts.peers.may_read_from(claim.prefill_instance):
            # Its KV would be refused, or worse: read as garbage. The job is gone with this claim, so it is put anew.
            session.dispatch(Claimed(claim.fence))
            lost = ClaimLost(fence=claim.fence, reason="incompatible_prefill_worker", retry_ok=run.retry_ok())
            session.dispatch(lost)
            yield Verdict(kind="dead")
            return
        verdicts = session.open_claim(claim.fence)
        session.dispatch(Claimed(claim.fence))
        if session.state.fence == claim.fence:
            session.claimer = claim.prefill_instance
        over = False
        try:
            while not over:
                verdict = await verdicts.get()
                yield verdict
                over = verdict.kind in LAST_WORDS
        finally:
            session.close_claim(claim.fence)
            if not over:
                self._parts.peers.view.report_lost(claim.prefill_instance)
            session.dispatch(ClaimLost(fence=claim.fence, reason="prefill_worker_lost", retry_ok=run.retry_ok()))

    async def progress(self, progress: PrefillProgress) -> AsyncGenerator[Verdict, None]:
        """First token, hand-off or failure of a claimed job. Verdicts travel on the claim; this only says "heard"."""
        found = self._sessions.get(progress.job_id)
        if found is None:
            yield Verdict(kind="dead")
            return
        session, run = found
        if progress.first is not None:
            session.dispatch(FirstToken(progress.fence, progress.first))
        if progress.handoff is not None:
            session.stages.extend(progress.stages)
            session.dispatch(HandoffArrived(progress.fence, progress.handoff))
        if progress.failure is not None:
            log.warning(
                "prefill.failed job_id=%s code=%s: %s", progress.job_id, progress.failure, progress.failure_message
            )
            retry_ok = progress.retry_elsewhere and run.retry_ok()
            session.dispatch(ClaimLost(fence=progress.fence, reason=progress.failure, retry_ok=retry_ok))
        yield Verdict(kind="go")

    async def watch_prefill_workers(self) -> None:
        """Runs beside the endpoints: when the last prefill worker goes, queued prompts are prefilled here."""
        async for _ in self._parts.peers.view.changes():
            if not self._parts.peers.compatible():
                for session, _run in list(self._sessions.values()):
                    if session.state.phase == "queued":
                        session.dispatch(Waited("no_prefill_worker"))

    async def aclose(self) -> None:
        """Wait a moment for withdrawals that are under way."""
        if self._chores:
            await asyncio.wait(self._chores, timeout=1.0)

    async def _remote(self, request: GenerateRequest, notes: Notes, take: Take) -> AsyncGenerator[GenerateOutput, None]:
        job_id = f"{request.request_id}.{uuid.uuid4().hex[:12]}"
        session = RemoteSession(job_id, stages=notes.stages, withdraw=self._withdraw)
        run = RemoteRun(request, session, self._parts, notes, take)
        self._sessions[job_id] = session, run
        try:
            async with aclosing(run.outputs()) as outputs:
                async for output in outputs:
                    yield output
        finally:
            del self._sessions[job_id]
            session.close()

    def _withdraw(self, job_id: str, attempt: int) -> None:
        chore = asyncio.get_running_loop().create_task(self._parts.queue.cancel(job_id, attempt))
        self._chores.add(chore)
        chore.add_done_callback(self._chores.discard)
