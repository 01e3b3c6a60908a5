"""What a router knows of one component's workers, and its choice among them. Pure state: no socket, no clock.

    tell what happened:  join, leave · apply (blocks) · heard (load) · prefilled, finished
    ask:                 choose

A target is an instance, or one data-parallel rank of it; inside it is a small number, for the block index.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tandem.core.load import LoadReport
from tandem.core.routing import RouteChoice, RouteRequest
from tandem.kv.blocks import Hashes, to_bytes
from tandem.kv.index import BlockIndex, Change, Matches
from tandem.router.loads import LoadView
from tandem.router.ports import Ask, Candidate, Rule
from tandem.router.predictions import Predictions
from tandem.router.prefills import DEFAULT_TOKENS_PER_S, PrefillQueue

_PENDING_BYTES = 8 * 4096
"""Names of changed blocks that wait for the next choice at most: the index takes them faster together."""

Target = tuple[str, int | None]
"""Instance id and data-parallel rank; None where there is only one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionTimes:
    """How long blocks are expected at a worker we sent them to. Seconds."""

    eventful_s: float = 60.0
    """Of an engine that tells of its blocks: from the choice on, should no first token come."""
    settle_s: float = 2.0
    """Of such an engine: from the first token on. By then it has told."""
    eventless_s: float = 600.0
    """Of an engine that tells nothing."""


@dataclass(slots=True)
class _Worker:
    number: int
    tells: bool
    """Whether it tells of its blocks."""
    predictions: Predictions
    queue: PrefillQueue = field(default_factory=PrefillQueue)


@dataclass(slots=True)
class _Open:
    target: Target
    names: Hashes
    sequences: int


@dataclass(frozen=True, slots=True)
class Decision:
    """A choice, and what it rests on."""

    choice: RouteChoice
    prompt_blocks: int
    found_blocks: int
    """Leading blocks that the chosen worker holds by its own word."""
    predicted_blocks: int
    """The same, with those that we expect there."""
    best_blocks: int
    """Most that anybody holds, or will."""


class WorkerPool:
    """Workers of one component, with equal block sizes."""

    def __init__(self, rule: Rule, block_size_tokens: int, *, times: PredictionTimes | None = None) -> None:
        self.block_size_tokens = block_size_tokens
        self.index = BlockIndex()
        self.loads = LoadView()
        self._rule = rule
        self._times = times or PredictionTimes()
        self._workers: dict[Target, _Worker] = {}
        self._free: list[int] = []
        self._open: dict[str, _Open] = {}
        self._last: str | None = None
        self._elsewhere: dict[Target, float] = {}
        self._sharing: Counter[int] = Counter()
        """Open requests by the names of some of their blocks: see `_marks`."""
        self._pending: list[Change] = []
        self._pending_bytes = 0

    # ── what happened ────────────────────────────────────────────────────────────────────────────

    @property
    def targets(self) -> Sequence[Target]:
        return list(self._workers)

    def open_requests(self) -> int:
        """Choices that are not over."""
        return len(self._open)

    def join(self, target: Target, *, tells: bool, capacity_blocks: int | None = None) -> None:
        """A worker is there. Safe to repeat."""
        known = self._workers.get(target)
        if known is not None:
            known.tells = tells
            return
        number = self._free.pop() if self._free else len(self._workers)
        self._workers[target] = _Worker(number, tells, Predictions(None if tells else capacity_blocks))

    def leave(self, target: Target) -> None:
        """A worker is gone with all it held."""
        gone = self._workers.pop(target, None)
        if gone is not None:
            self.flush()
            self.index.forget(gone.number)
            self._free.append(gone.number)

    def number(self, target: Target) -> int | None:
        """How the block index calls a target."""
        worker = self._workers.get(target)
        return None if worker is None else worker.number

    def apply(self, change: Change) -> None:
        """A worker's tier changed. Carried out with others at the next choice, or when many have come together."""
        if not change.names:
            return
        self._pending.append(change)
        self._pending_bytes += len(change.names)
        if self._pending_bytes > _PENDING_BYTES:
            self.flush()

    def flush(self) -> None:
        """Carry out what is pending."""
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        self.index.apply(pending)

    def forget(self, target: Target) -> None:
        """A worker's own word is worth nothing any more: all of its blocks are unknown, but for our predictions."""
        worker = self._workers.get(target)
        if worker is not None:
            self.flush()
            self.index.forget(worker.number, "gpu", "host", "disk")

    def heard(self, report: LoadReport, now: float) -> None:
        """An instance said how busy it is."""
        self.loads.heard(report, now)

    def elsewhere(self, waits_s: dict[Target, float]) -> None:
        """What other routers sent there, as prefill queues in seconds: added to ours."""
        self._elsewhere = waits_s

    def waits(self, now: float) -> dict[Target, float]:
        """Our own share of each prefill queue that is not empty, for other routers."""
        usual = self._usual_speed()
        found = {t: w.queue.wait_s(now, w.queue.speed(usual)) for t, w in self._workers.items() if w.queue.tokens}
        return {target: wait for target, wait in found.items() if wait > 0}

    def prefilled(self, request_id: str, now: float) -> None:
        """Its first token has come: its prompt is computed, and the worker is about to say so."""
        request = self._open.get(request_id)
        worker = None if request is None else self._workers.get(request.target)
        if request is None or worker is None:
            return
        worker.queue.first_token(request_id, now)
        if worker.tells:
            worker.predictions.shorten(request.names, now + self._times.settle_s)

    def finished(self, request_id: str, now: float) -> None:
        """It left its worker, in whatever way. Safe to repeat."""
        request = self._open.pop(request_id, None)
        if request is None:
            return
        self.loads.over(request.target[0], request.sequences)
        for mark in _marks(request.names):
            self._sharing[mark] -= 1
            if not self._sharing[mark]:
                del self._sharing[mark]
        worker = self._workers.get(request.target)
        if worker is not None:
            worker.queue.left(request_id, now)
            if worker.tells:
                worker.predictions.shorten(request.names, now + self._times.settle_s)

    # ── the choice ───────────────────────────────────────────────────────────────────────────────

    def choose(
        self,
        request: RouteRequest,
        names: Hashes,
        *,
        now: float,
        draw: float,
        session: str | None = None,
        session_is_hard: bool = False,
        active: bool = True,
        computes: bool = True,
    ) -> Decision:
        """Choose among `request.candidates`, and count on it from now on.

        Args:
            names: the prompt's blocks.
            session: instance that this session went to so far.
            active: whether sequences stay at the worker after their first token.
            computes: whether it computes the prompt itself: else the prompt is not added to its prefill queue.
        """
        self._expire(now)
        self.flush()
        self.finished(request.request_id, now)
        matches = self.index.matches(names)
        offered = set(request.candidates)
        targets = sorted((t for t in self._workers if t[0] in offered), key=lambda t: (t[0], t[1] or 0))
        usual = self._usual_speed()
        prompt = len(request.token_ids)
        candidates = [self._candidate(t, matches, prompt, usual, now) for t in targets]
        known = {target[0] for target in targets}
        candidates += [self.loads.candidate(i, now) for i in sorted(offered - known)]
        ask = Ask(
            request=request,
            last=self._last,
            draw=draw,
            now=now,
            shared_tokens=min(matches.longest * self.block_size_tokens, max(0, prompt - 1)),
            sharers=self._sharers(names, matches),
            session=session,
            session_is_hard=session_is_hard,
        )
        choice = self._rule(candidates, ask)
        self._last = choice.instance_id
        target = (choice.instance_id, choice.dp_rank)
        worker = self._workers.get(target)
        found = matches.of(worker.number) if worker is not None else Matches().of(0)
        self._open[request.request_id] = _Open(target, names, request.sequences)
        self._sharing.update(_marks(names))
        if active:
            self.loads.sent(choice.instance_id, request.sequences)
        if worker is not None:
            cached = min(found.predicted * self.block_size_tokens, max(0, prompt - 1))
            if computes:
                worker.queue.sent(request.request_id, prompt - cached, now)
            self._expect(worker, names, now)
        return Decision(choice, names.size, found.gpu, found.predicted, matches.longest)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _candidate(self, target: Target, matches: Matches, prompt: int, usual: float, now: float) -> Candidate:
        worker = self._workers[target]
        load = self.loads.candidate(target[0], now)
        overlap = matches.of(worker.number)
        speed = worker.queue.speed(usual)
        gpu, host, disk = (
            min(blocks * self.block_size_tokens, max(0, prompt - 1))
            for blocks in (overlap.predicted, overlap.host, overlap.disk)
        )
        return Candidate(
            instance_id=target[0],
            active=load.active,
            waiting_prefill_tokens=load.waiting_prefill_tokens,
            kv_used=load.kv_used,
            dp_rank=target[1],
            gpu_tokens=gpu,
            host_tokens=host,
            disk_tokens=disk,
            wait_s=worker.queue.wait_s(now, speed) + self._elsewhere.get(target, 0.0),
            tokens_per_s=speed,
        )

    def _sharers(self, names: Hashes, matches: Matches) -> float:
        """Open requests that begin with the longest known part of a prompt, per worker that holds it."""
        if not matches.longest:
            return 0.0
        mark = int(names[_last_mark(matches.longest)])
        return self._sharing.get(mark, 0) / matches.holders

    def _usual_speed(self) -> float:
        """What a worker that was not seen working is taken for: the average of the others."""
        seen = [speed for w in self._workers.values() if (speed := w.queue.speed(0.0))]
        return sum(seen) / len(seen) if seen else DEFAULT_TOKENS_PER_S

    def _expect(self, worker: _Worker, names: Hashes, now: float) -> None:
        lasts_s = self._times.eventful_s if worker.tells else self._times.eventless_s
        forgotten = worker.predictions.add(names, now + lasts_s)
        self.apply(Change(worker.number, "predicted", to_bytes(names), stored=True))
        self.apply(Change(worker.number, "predicted", to_bytes(forgotten), stored=False))

    def _expire(self, now: float) -> None:
        for worker in self._workers.values():
            self.apply(Change(worker.number, "predicted", to_bytes(worker.predictions.expired(now)), stored=False))


def _marks(names: Hashes) -> list[int]:
    """Names of the first, second, fourth, eighth … block: enough to tell how many share a prefix, at little cost."""
    return [int(names[(1 << i) - 1]) for i in range(names.size.bit_length())]


def _last_mark(blocks: int) -> int:
    """Where the last mark within so many leading blocks is."""
    return (1 << blocks.bit_length() - 1) - 1
