"""What a router knows of one component's workers, and its choice among them. Pure state: no socket, no clock.

    tell what happened:  join, leave · told (blocks) · heard (load) · prefilled, finished
    ask:                 choose

A target is an instance, or one data-parallel rank of it; inside it is a small number, for the block index.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tandem.core.kv_updates import KvChange
from tandem.core.load import LoadReport
from tandem.core.routing import RouteChoice, RouteRequest
from tandem.kv.blocks import Names
from tandem.kv.index import BlockIndex, Overlap
from tandem.router.loads import LoadView
from tandem.router.ports import Ask, Candidate, Rule
from tandem.router.predictions import Expected, Predictions, marks_of
from tandem.router.prefills import DEFAULT_TOKENS_PER_S, PrefillQueue

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
    worker: _Worker | None
    """As it was when it was chosen: a worker that left and came back is another one."""
    marks: list[int]
    sequences: int
    expected: Expected | None


_Held = tuple[int, int, int, int]
"""Leading blocks of a prompt at one worker: by its own word on its GPU, with those that we sent there, with those in
its host's memory, with its disk's."""


class Decision(NamedTuple):
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
        """Open requests by the names of some of their blocks: see `marks_of`."""
        self._slower_tiers = False
        """Whether anybody ever told of blocks on its host or disk."""
        self._order: list[tuple[Target, _Worker]] | None = []

    # ── what happened ────────────────────────────────────────────────────────────────────────────

    @property
    def targets(self) -> Sequence[Target]:
        return list(self._workers)

    def open_requests(self) -> int:
        """Choices that are not over."""
        return len(self._open)

    def join(self, target: Target, *, tells: bool, capacity_blocks: int | None = None) -> None:
        """A worker is there. Safe to repeat; one that begins or ceases to tell starts anew."""
        known = self._workers.get(target)
        if known is not None and known.tells == tells:
            return
        self.leave(target)
        number = self._free.pop() if self._free else len(self._workers)
        self._workers[target] = _Worker(number, tells, Predictions(None if tells else capacity_blocks))
        self._order = None

    def leave(self, target: Target) -> None:
        """A worker is gone with all it held."""
        gone = self._workers.pop(target, None)
        if gone is not None:
            self.index.forget(gone.number)
            self._free.append(gone.number)
            self._order = None

    def number(self, target: Target) -> int | None:
        """How the block index calls a target."""
        worker = self._workers.get(target)
        return None if worker is None else worker.number

    def told(self, target: Target, change: KvChange) -> None:
        """A worker's tier changed."""
        worker = self._workers.get(target)
        if worker is None:
            return
        if change.kind == "stored":
            self._slower_tiers |= change.tier != "gpu"
            self.index.store(worker.number, change.tier, change.names)
        elif change.kind == "removed":
            self.index.remove(worker.number, change.tier, change.names)
        else:
            self.index.forget(worker.number)

    def forget(self, target: Target) -> None:
        """A worker's own word is worth nothing any more: all of its blocks are unknown, but for our predictions."""
        worker = self._workers.get(target)
        if worker is not None:
            self.index.forget(worker.number)

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
        if request is not None and request.worker is not None:
            request.worker.queue.first_token(request_id, now)
            self._settle(request, now)

    def finished(self, request_id: str, now: float) -> None:
        """It left its worker, in whatever way. Safe to repeat."""
        request = self._open.pop(request_id, None)
        if request is None:
            return
        self.loads.over(request.target[0], request.sequences)
        for mark in request.marks:
            self._sharing[mark] -= 1
            if not self._sharing[mark]:
                del self._sharing[mark]
        if request.worker is not None:
            request.worker.queue.left(request_id, now)
            self._settle(request, now)

    # ── the choice ───────────────────────────────────────────────────────────────────────────────

    def choose(
        self,
        request: RouteRequest,
        names: Names,
        *,
        now: float,
        draw: float,
        session: str | None = None,
        session_is_hard: bool = False,
        active: bool = True,
        computes: Callable[[str], bool] = lambda _: True,
    ) -> Decision:
        """Choose among `request.candidates`, and count on it from now on.

        Args:
            names: the prompt's blocks.
            session: instance that this session went to so far.
            active: whether sequences stay at the worker after their first token.
            computes: whether an instance computes the prompt itself: else that is not added to its prefill queue.
        """
        self.finished(request.request_id, now)
        prompt = len(request.token_ids)
        offered = set(request.candidates)
        matches = self.index.matches(names)
        usual = self._usual_speed()
        marks = marks_of(names)
        candidates, held = [], {}
        for target, worker in self._in_order():
            if target[0] in offered:
                held[target] = found = self._held(worker, names, marks, matches.of(worker.number), now)
                candidates.append(self._candidate(target, worker, found, prompt, usual, now))
        offered.difference_update([target[0] for target in held])  # nobody has described the rest
        candidates += [self.loads.candidate(i, now) for i in sorted(offered)]
        longest = max([on_disk for *_, on_disk in held.values()], default=0)
        ask = Ask(
            request=request,
            last=self._last,
            draw=draw,
            now=now,
            shared_tokens=self._tokens(longest, prompt),
            sharers=self._sharers(marks, longest, held.values()),
            session=session,
            session_is_hard=session_is_hard,
        )
        choice = self._rule(candidates, ask)
        self._last = choice.instance_id
        target = (choice.instance_id, choice.dp_rank)
        (told, predicted, *_), expected = held.get(target, (0, 0, 0, 0)), None
        if active:
            self.loads.sent(choice.instance_id, request.sequences)
        chosen = self._workers.get(target)
        if chosen is not None:
            if computes(choice.instance_id):
                chosen.queue.sent(request.request_id, prompt - self._tokens(predicted, prompt), now)
            if chosen.tells:  # what it has told of needs no prediction
                until = now + self._times.eventful_s
                expected = chosen.predictions.add(names, marks, until, begin=told)
            else:
                chosen.predictions.add(names, marks, now + self._times.eventless_s)
        self._open[request.request_id] = _Open(target, chosen, marks, request.sequences if active else 0, expected)
        self._sharing.update(marks)
        return Decision(choice, len(names), told, predicted, longest)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _in_order(self) -> list[tuple[Target, _Worker]]:
        """Targets in the order in which a rule wants them."""
        if self._order is None:
            self._order = sorted(self._workers.items(), key=lambda each: (each[0][0], each[0][1] or 0))
        return self._order

    def _held(self, worker: _Worker, names: Names, marks: list[int], told: Overlap, now: float) -> _Held:
        gpu, host, disk = told
        predicted = worker.predictions.run(names, marks, gpu, now)
        if predicted != gpu:
            predicted = self._reach(worker, names, marks, predicted, 1, now)
        if not self._slower_tiers:
            return gpu, predicted, predicted, predicted
        host = self._reach(worker, names, marks, max(host, predicted), 2, now)
        return gpu, predicted, host, self._reach(worker, names, marks, max(disk, host), 3, now)

    def _reach(self, worker: _Worker, names: Names, marks: list[int], begin: int, tiers: int, now: float) -> int:
        """Where the blocks end, from `begin` on, that a worker holds in the first so many tiers or that we expect."""
        at, bit, told = begin, 1 << worker.number, self.index.holders
        while True:
            end = at
            while end < len(names) and any(mask & bit for mask in told(names[end])[:tiers]):
                end += 1
            end = worker.predictions.run(names, marks, end, now)
            if end == at:
                return at
            at = end

    def _candidate(
        self, target: Target, worker: _Worker, held: _Held, prompt: int, usual: float, now: float
    ) -> Candidate:
        instance_id, dp_rank = target
        active, waiting, kv_used = self.loads.glance(instance_id, now)
        queue = worker.queue
        speed = queue.speed(usual)
        wait_s = queue.wait_s(now, speed) if queue.tokens else 0.0
        if self._elsewhere:
            wait_s += self._elsewhere.get(target, 0.0)
        _, predicted, in_host, on_disk = held
        gpu = host = disk = self._tokens(predicted, prompt)
        if on_disk != predicted:
            host, disk = self._tokens(in_host, prompt), self._tokens(on_disk, prompt)
        return Candidate(
            instance_id=instance_id,
            active=active,
            waiting_prefill_tokens=waiting,
            kv_used=kv_used,
            dp_rank=dp_rank,
            gpu_tokens=gpu,
            host_tokens=host,
            disk_tokens=disk,
            wait_s=wait_s,
            tokens_per_s=speed,
        )

    def _tokens(self, blocks: int, prompt: int) -> int:
        """Prompt tokens that need not be computed for so many blocks: the last one always is."""
        tokens = blocks * self.block_size_tokens
        return tokens if tokens < prompt else max(0, prompt - 1)

    def _sharers(self, marks: list[int], longest: int, held: Iterable[_Held]) -> float:
        """Open requests that begin with the longest known part of a prompt, per worker that holds it."""
        if not longest:
            return 0.0
        sharing = self._sharing.get(marks[longest.bit_length() - 1], 0)
        return sharing / sum(on_disk == longest for *_, on_disk in held)

    def _settle(self, request: _Open, now: float) -> None:
        """The worker is about to say what it holds of a prompt."""
        if request.worker is not None and request.expected is not None:
            request.worker.predictions.shorten(request.expected, now + self._times.settle_s)

    def _usual_speed(self) -> float:
        """What a worker that was not seen working is taken for: the average of the others."""
        seen = [speed for w in self._workers.values() if (speed := w.queue.speed(0.0))]
        return sum(seen) / len(seen) if seen else DEFAULT_TOKENS_PER_S
