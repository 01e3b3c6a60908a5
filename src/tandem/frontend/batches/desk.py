"""One batch, worked off by this process for as long as it holds it."""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from tandem.core.openai_in import Origin
from tandem.errors import ServingError
from tandem.frontend.batches import rules
from tandem.frontend.batches.ledger import Answer, Claimed, Ledger, Outcome
from tandem.frontend.batches.lines import Line, LineError, LineResponse, body_of, line_out, read_input
from tandem.frontend.batches.objects import Batch, BatchFault, FileObject
from tandem.frontend.batches.store import BROKEN, Store
from tandem.frontend.statuses import HttpFault, error_body, status_of
from tandem.observe import metrics

_log = logging.getLogger(__name__)
_TICK_S: Final = 1.0
"""How soon a batch notices that it was cancelled, or that lines may run again."""

AnswerLine = Callable[[str, bytes, Origin, str], Awaitable[Any]]
"""Endpoint, body, origin, whose batch it is → the answer's body."""


@dataclass(slots=True, kw_only=True)
class Floor:
    """What the batches of a process share."""

    store: Store
    answer: AnswerLine
    holder: str
    """This process, once."""
    lease_s: float
    line_timeout_s: float
    max_lines: int
    max_line_bytes: int
    at_once: Callable[[], int]
    """How many lines may run now, over all batches."""
    served: Callable[[], set[str]]
    """Names of the models that can be asked for."""
    wall_clock: Callable[[], float] = time.time
    running: int = 0
    """Lines that run now."""
    desks: int = 0
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


class Desk:
    """Works on a batch until it is over, somebody else has it, or the process stops."""

    def __init__(self, floor: Floor, claimed: Claimed) -> None:
        self._floor = floor
        self._claimed = claimed
        self._batch: Batch = claimed.batch
        self._running: dict[asyncio.Task[Answer], Line] = {}

    async def work(self) -> None:
        """Raises `LeaseLapsed` when the batch is somebody else's by now, and what a failing disk raises."""
        alive = asyncio.create_task(self._stay(), name=f"batch-lease-{self._batch.id}")
        try:
            if self._batch.status == "validating" and not await self._validate():
                return
            if self._batch.status != "finalizing":
                answers = [self._lost(line) for line in self._claimed.lost]
                if not await self._answer_lines(answers):
                    return
            await self._finish()
        finally:
            alive.cancel()
            await asyncio.gather(alive, return_exceptions=True)
            await self._drop_lines()

    async def _stay(self) -> None:
        """Keep the lease while we work. Once it is lost, the next write says so."""
        floor, batch_id = self._floor, self._batch.id
        while True:
            await asyncio.sleep(floor.lease_s / 4)
            with contextlib.suppress(*BROKEN):
                await self._do(
                    lambda ledger: ledger.renew(floor.holder, batch_id, now=floor.wall_clock(), lease_s=floor.lease_s)
                )

    async def _validate(self) -> bool:
        """Read the whole input. False: the batch has failed, and is over."""
        batch, floor = self._batch, self._floor

        def read() -> Any:
            lines = floor.store.folder.lines(batch.input_file_id, most=floor.max_line_bytes)
            return read_input(
                lines, endpoint=batch.endpoint, max_lines=floor.max_lines, max_line_bytes=floor.max_line_bytes
            )

        try:
            found = await asyncio.to_thread(read)
        except FileNotFoundError:
            found = [BatchFault(code="file_not_found", message="the input file is gone", param="input_file_id")]
        if not isinstance(found, list) and found.model not in (served := floor.served()):
            names = ", ".join(sorted(served)) or "none"
            message = f"the model {found.model[:128]!r} is not served here; served: {names}"
            found = [BatchFault(code="model_not_found", message=message, line=1, param="body.model")]
        now = floor.wall_clock()
        if isinstance(found, list):
            await self._do(lambda ledger: ledger.fail(floor.holder, batch.id, found, now))
            _log.info("batch.failed batch=%s faults=%d first=%s", batch.id, len(found), found[0].code)
            return False
        self._batch = await self._do(lambda ledger: ledger.begin(floor.holder, batch.id, found.model, found.lines, now))
        return True

    async def _answer_lines(self, answers: list[Answer]) -> bool:
        """Run lines until each has its answer. False: we stop before, and somebody else goes on."""
        floor = self._floor
        while True:
            stopping = floor.stopping.is_set()
            # Places are taken before we wait for the disk, so that two batches do not take the same ones.
            want = 0 if stopping else rules.share(floor.at_once() - floor.running, floor.desks)
            floor.running += want
            lines: list[Line] = []
            try:
                step = await self._step(answers, want)
                lines = step.lines
            finally:
                floor.running -= want - len(lines)
            answers = []
            if step.batch.status == "cancelling" or floor.wall_clock() >= step.batch.expires_at:
                floor.running -= len(lines)
                await self._give_up()
                return True
            for line in lines:
                self._start(line)
            if not step.open_lines:
                return True
            if stopping and not self._running:
                return False
            answers = await self._next_answers()

    def _start(self, line: Line) -> None:
        task = asyncio.create_task(self._answer(line), name=f"batch-line-{line.number}")
        self._running[task] = line

    async def _next_answers(self) -> list[Answer]:
        """Those of the lines that end next, or none after a while."""
        if not self._running:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._floor.stopping.wait(), _TICK_S)
            return []
        done, _ = await asyncio.wait(self._running, timeout=_TICK_S, return_when=asyncio.FIRST_COMPLETED)
        answers = []
        for task in done:
            del self._running[task]
            self._floor.running -= 1
            answer = task.result()
            metrics.BATCH_LINES.labels(answer.outcome).inc()
            answers.append(answer)
        return answers

    async def _give_up(self) -> None:
        """The batch was cancelled, or its time is over: lines that have no answer get an error that says so."""
        await self._drop_lines()
        batch_id = self._batch.id
        outcome: Outcome = "expired"
        error = LineError(code="batch_expired", message="This request was not answered within the completion window.")
        if self._batch.status == "cancelling":
            outcome = "failed"
            error = LineError(code="batch_cancelled", message="The batch was cancelled before that.")
        left = await self._do(lambda ledger: ledger.unanswered(batch_id))
        metrics.BATCH_LINES.labels(outcome).inc(len(left))
        await self._step([Answer(line.number, outcome, line_out(batch_id, line, error=error)) for line in left], 0)

    async def _finish(self) -> None:
        """Write the files; then the batch is over. Done twice, it does the same twice."""
        floor, batch_id = self._floor, self._batch.id
        batch, status = await self._do(lambda ledger: ledger.finalize(floor.holder, batch_id, floor.wall_clock()))
        self._batch = batch
        files = []
        if batch.request_counts.completed:
            files.append(await self._do(partial(self._write, name="output", completed=True)))
        if batch.request_counts.failed:
            files.append(await self._do(partial(self._write, name="error", completed=False)))
        await self._do(lambda ledger: ledger.finish(floor.holder, batch_id, status, files, floor.wall_clock()))
        counts = batch.request_counts
        _log.info("batch.%s batch=%s completed=%d failed=%d", status, batch_id, counts.completed, counts.failed)

    def _write(self, ledger: Ledger, *, name: str, completed: bool) -> FileObject:
        batch, kept_s = self._batch, self._claimed.output_kept_s
        created_at = batch.finalizing_at or 0
        file_id = f"file-{batch.id.removeprefix('batch_')}-{name}"
        size = self._floor.store.folder.write(file_id, ledger.answers(batch.id, completed=completed))
        return FileObject(
            id=file_id,
            bytes=size,
            created_at=created_at,
            expires_at=None if kept_s is None else created_at + kept_s,
            filename=f"{batch.id}_{name}.jsonl",
            purpose="batch_output",
        )

    async def _answer(self, line: Line) -> Answer:
        """Run a line until it has an answer."""
        floor, batch = self._floor, self._batch
        raw = await asyncio.to_thread(floor.store.folder.read, batch.input_file_id, line.start, line.size)
        body = body_of(raw)
        tries = waits = 0
        while True:
            tries += 1
            now = floor.wall_clock()
            request_id = str(uuid.uuid4())
            origin = Origin(request_id=request_id, accepted_at=now, deadline=now + floor.line_timeout_s)
            try:
                reply = await floor.answer(batch.endpoint, body, origin, self._claimed.owner)
            except ServingError as error:
                if rules.after_failure(error, tries) != "answered":
                    await asyncio.sleep(rules.wait_s(error, waits))
                    waits += 1
                    continue
                response = _refusal(error, request_id)
            except HttpFault as error:
                response = _refusal(error, request_id)
            except Exception:
                metrics.BUGS.labels("frontend").inc()
                _log.exception("batch.bug batch=%s line=%d request_id=%s", batch.id, line.number, request_id)
                response = _refusal(ServingError("internal error"), request_id)
            else:
                response = LineResponse(status_code=200, request_id=request_id, body=reply)
            outcome: Outcome = "completed" if response.status_code == 200 else "failed"
            return Answer(line.number, outcome, line_out(batch.id, line, response))

    def _lost(self, line: Line) -> Answer:
        message = f"{rules.MOST_LOSSES} processes ended while they ran this request."
        error = LineError(code="batch_line_lost", message=message)
        metrics.BATCH_LINES.labels("failed").inc()
        return Answer(line.number, "failed", line_out(self._batch.id, line, error=error))

    async def _step(self, answers: list[Answer], want: int) -> Any:
        floor = self._floor
        running = {line.number for line in self._running.values()}
        step = await self._do(
            lambda ledger: ledger.step(
                floor.holder,
                self._batch.id,
                answers,
                want=want,
                running=running,
                now=floor.wall_clock(),
            )
        )
        self._batch = step.batch
        return step

    async def _do(self, work: Callable[[Ledger], Any]) -> Any:
        return await self._floor.store.call(work)

    async def _drop_lines(self) -> None:
        """End what still runs; nobody will read it."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._floor.running -= len(self._running)
        self._running.clear()


def _refusal(error: ServingError | HttpFault, request_id: str) -> LineResponse:
    return LineResponse(status_code=status_of(error.code).http, request_id=request_id, body=error_body(error))
