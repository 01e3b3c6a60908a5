"""One request whose prompt is prefilled elsewhere: carries out what the session's state machine asks for.

Enqueue → the queue · Emit → the client · StartDecode → our engine reads the KV · PrefillHere → our engine does it all
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from tandem.core.handoff import Handoff, PrefillJob
from tandem.core.request import GenerateOutput, GenerateRequest
from tandem.disagg.queue import PrefillQueue
from tandem.disagg.remote_prefill import Decoded, Effect, Emit, Enqueue, PrefillHere, PullFailed, StartDecode, Waited
from tandem.disagg.rules import advanced, first_token_is_exact
from tandem.engines.ports import Engine, Outputs, Take
from tandem.errors import KvTransferFailed, Unavailable
from tandem.observe import metrics, stages
from tandem.worker.local import generate_here, next_output, noted_decode
from tandem.worker.notes import Notes
from tandem.worker.peers import PrefillPeers
from tandem.worker.pulls import Pull, PullMeter
from tandem.worker.session import RemoteSession

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeTimes:
    """How long a decode worker waits for what. Seconds."""

    prefill_timeout_s: float = 60.0
    """From the first job to the hand-off, over all attempts; then the prompt is prefilled here."""
    pull_timeout_s: float = 30.0
    """From the hand-off to the first decoded token; then the KV is given up."""
    requeue_after_s: float = 3.0
    """A job that nobody claims is offered again under its own name: no change, unless the queue has lost it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeIdentity:
    """Where prefill workers find this decode worker."""

    instance_id: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeParts:
    """What a decode worker works with, the same for every request."""

    engine: Engine
    identity: DecodeIdentity
    queue: PrefillQueue
    peers: PrefillPeers
    times: DecodeTimes
    pulls: PullMeter

    def count_fallback(self, request_id: str, reason: str) -> None:
        """A remote prefill that was wanted and did not happen: counted and said, never silent."""
        metrics.FALLBACKS.labels(reason).inc()
        log.warning("prefill.fallback request_id=%s reason=%s", request_id, reason)


class RemoteRun:
    """Serves one request by remote prefill.

    Args:
        session: the request's session, already known to the `claim` endpoint.
        take: see `local.py`.
    """

    def __init__(
        self, request: GenerateRequest, session: RemoteSession, parts: DecodeParts, notes: Notes, take: Take
    ) -> None:
        self._request = request
        self._session = session
        self._parts = parts
        self._notes = notes
        self._take = take
        self._sent: list[int] = []
        """Output tokens passed on so far: a new attempt goes on after them."""
        self._job: PrefillJob | None = None
        self._give_up_at = time.monotonic() + parts.times.prefill_timeout_s

    async def outputs(self) -> AsyncGenerator[GenerateOutput, None]:
        """The whole answer. Raises what the engine raises once no recovery is left."""
        while True:
            match await self._next():
                case Enqueue(attempt):
                    await self._enqueue(attempt)
                case Emit(output):
                    self._notes.add(stages.FIRST_TOKEN, source="prefill", instance=self._session.claimer)
                    self._sent += output.token_ids
                    yield output
                    if output.finish_reason is not None:
                        return
                case StartDecode(handoff):
                    try:
                        async with aclosing(self._pull(handoff)) as outputs:
                            async for output in outputs:
                                self._sent += output.token_ids
                                yield output
                        return
                    except KvTransferFailed as failure:
                        self._pull_failed(failure)
                case PrefillHere(reason):
                    self._parts.count_fallback(self._request.request_id, reason)
                    self._notes.add(stages.RECOVERED, kind="prefilled_here", reason=reason)
                    here = generate_here(self._parts.engine, self._rest(), self._notes, self._take)
                    async with aclosing(here) as outputs:
                        async for output in outputs:
                            yield output
                    return

    def retry_ok(self) -> bool:
        """Whether a lost prefill may be queued once more: somebody else could take it, and time is left."""
        return time.monotonic() < self._give_up_at and self._parts.peers.others_than(self._session.claimer)

    def _rest(self) -> GenerateRequest:
        return advanced(self._request, self._sent)

    async def _next(self) -> Effect:
        """The next thing to do; gives up waiting in time, and offers an unclaimed job again."""
        while True:
            left = self._give_up_at - time.monotonic()
            if left <= 0:
                self._session.dispatch(Waited("prefill_timeout"))
            try:
                async with asyncio.timeout(min(self._parts.times.requeue_after_s, max(left, 0.0)) or None):
                    return await self._session.todo.get()
            except TimeoutError:
                if self._session.state.phase == "queued" and self._job is not None and left > 0:
                    await self._offer(self._job, self._lane())

    async def _enqueue(self, attempt: int) -> None:
        rest = self._rest()
        facts = self._parts.engine.facts
        deadline = time.time() + max(0.0, self._give_up_at - time.monotonic())
        self._job = PrefillJob(
            job_id=self._session.job_id,
            request=msgspec.structs.replace(rest, dp_rank=None),  # that is ours, not the prefill engine's
            attempt=attempt,
            decode_instance=self._parts.identity.instance_id,
            decode_address=self._parts.identity.address,
            deadline=deadline if rest.deadline is None else min(deadline, rest.deadline),
            enqueued_at=time.time(),
            first_token=first_token_is_exact(
                rest.sampling, prompt_tokens=rest.prompt_tokens, max_model_len=facts.max_model_len
            ),
            decode_block_size_tokens=facts.block_size_tokens,
            decode_kv_layout=facts.kv_layout,
        )
        lane = self._lane()
        self._notes.add(stages.PREFILL_QUEUED, lane=lane, attempt=attempt)
        if attempt > 1:
            metrics.RECOVERIES.labels("prefill_requeued").inc()
        if not await self._offer(self._job, lane):
            self._session.dispatch(Waited("queue_refused"))

    def _lane(self) -> str:
        """Where the job should wait, by who is there now."""
        return self._parts.peers.lane(self._session.job_id, self._request.prefill_hint)

    async def _offer(self, job: PrefillJob, lane: str) -> bool:
        try:
            await self._parts.queue.put(job, lane=lane)
        except Unavailable as away:
            log.warning("prefill.not_queued request_id=%s reason=%s", self._request.request_id, away)
            return False
        return True

    async def _pull(self, handoff: Handoff) -> AsyncGenerator[GenerateOutput, None]:
        pull = self._parts.pulls.begin()
        try:
            async with aclosing(self._parts.engine.decode(self._rest(), handoff)) as outputs:
                first = await self._first(outputs, handoff, pull)
                async with aclosing(noted_decode(first, outputs, self._notes, self._sent_on)) as noted:
                    async for output in noted:
                        yield output
        finally:
            self._parts.pulls.end(pull)

    def _sent_on(self, output: GenerateOutput) -> bool:
        if not self._take(output):
            return False
        self._sent += output.token_ids
        return True

    async def _first(self, outputs: Outputs[GenerateOutput], handoff: Handoff, pull: Pull) -> GenerateOutput:
        """The decode engine's first output, which says that the KV has arrived."""
        begun, timeout_s = time.monotonic(), self._parts.times.pull_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                first = await next_output(outputs)
        except TimeoutError as late:
            raise KvTransferFailed(f"no token within {timeout_s:g} s of the hand-off") from late
        self._session.dispatch(Decoded())
        pull_s = time.monotonic() - begun
        kv_bytes = self._parts.pulls.moved(pull, handoff)
        self._parts.pulls.end(pull)
        metrics.KV_PULL_SECONDS.observe(pull_s)
        metrics.KV_TRANSFERS.labels("pulled").inc()
        self._notes.add(
            stages.KV_PULL,
            duration_s=pull_s,
            kv_bytes=kv_bytes,
            gb_per_s=round(kv_bytes / pull_s / 1e9, 3),
            tokens=handoff.num_tokens,
            engine_id=handoff.engine_id,
            estimated=None if pull.alone else True,
        )
        return first

    def _pull_failed(self, failure: KvTransferFailed) -> None:
        log.warning("kv.pull_failed request_id=%s reason=%s", self._request.request_id, failure)
        metrics.RECOVERIES.labels("kv_pull_failed").inc()
        metrics.KV_TRANSFERS.labels("failed").inc()
        self._notes.add(stages.PREFILL_LOST, reason=failure.code, message=failure.message)
        self._session.dispatch(PullFailed(reason=failure.code, retry_ok=self.retry_ok()))
