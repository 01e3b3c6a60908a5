"""The embedded work queue as pure state: jobs in lanes, who waits for them, who has them.

    waiting ──take──► claimed ──ack──► gone
       ▲                 │ nak (after its delay), or ack_wait_s without a sign of life
       └─────────────────┘

Takers are part of the state: a job goes to the taker that has waited longest among those whose lanes name it.
"""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from tandem.transport.ports import LaneDepth

DEDUP_WINDOW_S = 120.0


@dataclass(slots=True, eq=False)
class Job:
    """One job. `number` counts its deliveries."""

    seq: int
    job_id: str
    lane: str
    payload: bytes
    number: int = 0
    claimed: bool = False
    due_at: float | None = None
    """When a claim lapses or a delay ends; None while it simply waits."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """Effect: hand a delivery to a taker."""

    taker: int
    seq: int
    lane: str
    payload: bytes
    number: int


class QueueState:
    """One work queue. `now` is any clock that only moves forward, in seconds."""

    def __init__(self, ack_wait_s: float, first_seq: int = 1) -> None:
        """Jobs count up from `first_seq`: picked at random, so that an ack of before a restart hits nothing."""
        self.ack_wait_s = ack_wait_s
        self._seq = count(first_seq)
        self._jobs: dict[int, Job] = {}
        self._ids: dict[str, int] = {}
        self._lanes: dict[str, list[int]] = {}
        """Free jobs per lane by seq; a delayed or claimed one is not in here."""
        self._recent: dict[str, float] = {}
        self._takers: dict[int, tuple[str, ...]] = {}

    def put(self, lane: str, job_id: str, payload: bytes, now: float) -> list[Deliver]:
        """Add a job, unless the same id was put within `DEDUP_WINDOW_S`."""
        while self._recent and self._recent[oldest := next(iter(self._recent))] + DEDUP_WINDOW_S <= now:
            del self._recent[oldest]
        if job_id in self._recent:
            return []
        self._recent[job_id] = now
        job = Job(next(self._seq), job_id, lane, payload)
        self._jobs[job.seq] = job
        self._ids[job_id] = job.seq
        return self._free(job, now)

    def take(self, taker: int, lanes: Sequence[str], now: float) -> list[Deliver]:
        """`taker` wants a job of one of `lanes`: now, or with a later effect."""
        for lane in lanes:
            waiting = self._lanes.setdefault(lane, [])
            if waiting:
                return [self._claim(taker, self._jobs[waiting.pop(0)], now)]
        self._takers[taker] = tuple(lanes)
        return []

    def forget_taker(self, taker: int) -> None:
        """`taker` no longer waits. Safe to repeat."""
        self._takers.pop(taker, None)

    def in_progress(self, seq: int, number: int, now: float) -> None:
        """Claim for another `ack_wait_s`. A claim that has lapsed is not renewed."""
        if (job := self._held(seq, number)) is not None:
            job.due_at = now + self.ack_wait_s

    def ack(self, seq: int) -> None:
        """The job is over, whichever delivery did it. Unknown ones were over before."""
        if (job := self._jobs.get(seq)) is not None:
            self._drop(job)

    def nak(self, seq: int, number: int, delay_s: float, now: float) -> list[Deliver]:
        """Give back. Only the delivery that holds the job can."""
        if (job := self._held(seq, number)) is None:
            return []
        job.claimed = False
        if delay_s > 0:
            job.due_at = now + delay_s
            return []
        return self._free(job, now)

    def undo(self, seq: int, number: int, now: float) -> list[Deliver]:
        """A delivery reached nobody: as if it had not been made."""
        if (job := self._held(seq, number)) is None:
            return []
        job.number -= 1
        return self._free(job, now)

    def cancel(self, job_id: str) -> bool:
        """Remove a job that nobody has taken."""
        seq = self._ids.get(job_id)
        job = self._jobs.get(seq) if seq is not None else None
        if job is None or job.claimed:
            return False
        self._drop(job)
        return True

    def lanes(self) -> dict[str, LaneDepth]:
        """Every lane that exists, with its depth."""
        depth = {lane: [0, 0] for lane in self._lanes}
        for job in self._jobs.values():
            depth.setdefault(job.lane, [0, 0])[job.claimed] += 1
        return {lane: LaneDepth(waiting, claimed) for lane, (waiting, claimed) in sorted(depth.items())}

    def drop_lane(self, lane: str, into: str, now: float) -> list[Deliver]:
        """Remove `lane`. Jobs that wait go to `into` now, claimed ones when their claim lapses."""
        if lane == into:
            return []
        self._lanes.pop(lane, None)
        effects: list[Deliver] = []
        for job in [job for job in self._jobs.values() if job.lane == lane]:
            job.lane = into
            if not job.claimed and job.due_at is None:
                effects += self._free(job, now)
        return effects

    def expire(self, now: float) -> list[Deliver]:
        """Free the jobs whose claim has lapsed or whose delay is over."""
        due = [job for job in self._jobs.values() if job.due_at is not None and job.due_at <= now]
        return [effect for job in due for effect in self._free(job, now)]

    def next_deadline(self) -> float | None:
        """When `expire` will next have something to do."""
        return min((job.due_at for job in self._jobs.values() if job.due_at is not None), default=None)

    def _held(self, seq: int, number: int) -> Job | None:
        job = self._jobs.get(seq)
        return job if job is not None and job.claimed and job.number == number else None

    def _free(self, job: Job, now: float) -> list[Deliver]:
        job.claimed, job.due_at = False, None
        for taker, lanes in self._takers.items():
            if job.lane in lanes:
                del self._takers[taker]
                return [self._claim(taker, job, now)]
        insort(self._lanes.setdefault(job.lane, []), job.seq)
        return []

    def _claim(self, taker: int, job: Job, now: float) -> Deliver:
        job.number += 1
        job.claimed, job.due_at = True, now + self.ack_wait_s
        return Deliver(taker, job.seq, job.lane, job.payload, job.number)

    def _drop(self, job: Job) -> None:
        del self._jobs[job.seq]
        if self._ids.get(job.job_id) == job.seq:
            del self._ids[job.job_id]
        waiting = self._lanes.get(job.lane, [])
        if not job.claimed and job.seq in waiting:
            waiting.remove(job.seq)
