"""The clock that plays a trace on simulated engines under a policy."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from tandem.errors import ConfigError
from tandem.kv.blocks import Hashes
from tandem.simulate.engine import EngineModel, Listener, Run, SimulatedWorker
from tandem.simulate.ports import Policy
from tandem.simulate.report import Report, report_of
from tandem.simulate.trace import TraceRequest

Progress = Callable[[int], None]
"""Told how many requests have arrived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The workers that a trace is played on."""

    workers: int = 8
    model: EngineModel = field(default_factory=EngineModel)
    speeds: tuple[float, ...] = ()
    """Factor on each worker's speed; 1 where none is given."""
    deaths: tuple[tuple[float, int], ...] = ()
    """(second, worker): who dies when. Worker -1 is the one that got most requests until then: with the hot prefix."""

    def check(self) -> None:
        """Raise ConfigError on a stage that cannot work."""
        if self.workers < 1 or len({w for _, w in self.deaths}) >= self.workers:
            raise ConfigError("at least one worker must be there and stay alive")


def play(requests: Sequence[TraceRequest], policy: Policy, stage: Stage, *, progress: Progress | None = None) -> Report:
    """Play a whole trace; returns once the last answer is complete."""
    stage.check()
    return _Replay(requests, policy, stage, progress or (lambda _: None)).run()


class _Replay:
    def __init__(self, requests: Sequence[TraceRequest], policy: Policy, stage: Stage, progress: Progress) -> None:
        self._requests = requests
        self._policy = policy
        self._stage = stage
        self._progress = progress
        listener = Listener(self._first_token, self._finished, self._stored, self._removed)
        speeds = [*stage.speeds, *[1.0] * stage.workers][: stage.workers]
        self._workers = [SimulatedWorker(i, _at_speed(stage.model, s), listener) for i, s in enumerate(speeds)]
        self._alive = list(range(stage.workers))
        self._ttft: dict[str, float] = {}
        self._hits = self._blocks = 0
        self._assigned = [0] * stage.workers
        self._clock: list[tuple[float, int, str, int]] = []
        self._order = count()

    def run(self) -> Report:
        for at_s, worker in self._stage.deaths:
            self._push(at_s, "death", worker)
        for number, request in enumerate(self._requests):
            self._push(request.at_s, "arrival", number)
        arrived = 0
        while self._clock:
            now, _, what, number = heapq.heappop(self._clock)
            if what == "arrival":
                arrived += 1
                self._progress(arrived)
                self._route(self._requests[number], now)
            elif what == "death":
                self._die(number, now)
            elif number in self._alive:
                self._next(number, self._workers[number].settle(now))
        return report_of(
            ttft_s=[self._ttft[request.request_id] for request in self._requests],
            gaps=[worker.gaps for worker in self._workers],
            computed_tokens=[worker.computed_tokens for worker in self._workers],
            requests=self._assigned,
            hit_blocks=self._hits,
            blocks=self._blocks,
            arrivals_s=self._requests[-1].at_s - self._requests[0].at_s,
            prefill_tokens_per_s=sum(worker.model.prefill_tokens_per_s for worker in self._workers),
        )

    def _route(self, request: TraceRequest, now: float) -> None:
        chosen = self._policy.choose(request, self._alive, now)
        self._assigned[chosen] += 1
        self._next(chosen, self._workers[chosen].add(Run(request), now))

    def _die(self, number: int, now: float) -> None:
        if number < 0:
            number = max(self._alive, key=lambda i: self._assigned[i])
        self._alive.remove(number)
        lost = self._workers[number].die()
        self._policy.died(number, now)
        for run in lost:
            self._policy.finished(run.request.request_id, now)
        for run in lost:
            self._route(run.request, now)

    def _next(self, number: int, at_s: float | None) -> None:
        if at_s is not None:
            self._push(at_s, "worker", number)

    def _push(self, at_s: float, what: str, number: int) -> None:
        heapq.heappush(self._clock, (at_s, next(self._order), what, number))

    def _first_token(self, run: Run, now: float) -> None:
        request = run.request
        if request.request_id not in self._ttft:  # told once, also when it is begun anew after a death
            self._ttft[request.request_id] = now - request.at_s
            self._hits += run.hit_blocks
            self._blocks += len(request.names)
        self._policy.first_token(request.request_id, now)

    def _finished(self, run: Run, now: float) -> None:
        self._policy.finished(run.request.request_id, now)

    def _stored(self, worker: int, names: Hashes, now: float) -> None:
        self._policy.stored(worker, names, now)

    def _removed(self, worker: int, names: Hashes, now: float) -> None:
        self._policy.removed(worker, names, now)


def _at_speed(model: EngineModel, factor: float) -> EngineModel:
    return replace(
        model,
        prefill_tokens_per_s=model.prefill_tokens_per_s * factor,
        decode_step_s=model.decode_step_s / factor,
        decode_seq_s=model.decode_seq_s / factor,
    )
