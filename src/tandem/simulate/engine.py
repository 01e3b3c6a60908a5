"""One engine at block level: a batch, a prefix cache, a step's cost. No tokens, no asyncio.

Chunked prefill in order of arrival beside continuous decoding, as vLLM's default scheduler does it. Between
two changes of the batch all steps cost the same, so they are taken in one leap.
"""

import heapq
import math
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tandem.kv.blocks import Hashes
from tandem.simulate.trace import TraceRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineModel:
    """Size and speed of an engine."""

    cache_tokens: int = 1_000_000
    prefill_tokens_per_s: float = 7000.0
    block_size_tokens: int = 512
    decode_step_s: float = 0.019
    decode_seq_s: float = 0.00002
    step_tokens: int = 2048
    """Prompt tokens that one step computes at most."""


@dataclass(slots=True, eq=False)
class Run:
    """A request on an engine."""

    request: TraceRequest
    hit_blocks: int = -1
    """Blocks found in the cache when its turn came; -1 until then."""
    computed: int = 0
    stored: int = 0


@dataclass(slots=True)
class Listener:
    """Whom an engine tells what. Each is called with the engine's time."""

    first_token: Callable[[Run, float], None]
    finished: Callable[[Run, float], None]
    stored: Callable[[int, Hashes, float], None]
    removed: Callable[[int, Hashes, float], None]


@dataclass(slots=True)
class _Leap:
    """Equal steps, taken together."""

    begin: float
    step_s: float
    steps: int
    prefill: int

    @property
    def end(self) -> float:
        return self.begin + self.steps * self.step_s


@dataclass(slots=True)
class SimulatedWorker:
    """One engine. Call `settle` at the time it last returned, and `add` at any time."""

    number: int
    model: EngineModel
    listener: Listener
    waiting: deque[Run] = field(default_factory=deque)
    decoding: list[tuple[int, int, Run]] = field(default_factory=list)
    """A heap of (step at which it ends, tie, run)."""
    gaps: dict[float, int] = field(default_factory=dict)
    """Tokens by the length of the step that made them: inter-token latencies."""
    computed_tokens: int = 0
    _steps: int = 0
    _leap: _Leap | None = None
    _cache: OrderedDict[int, None] = field(default_factory=OrderedDict)
    """Blocks that nobody uses, the next to be evicted first."""
    _used: dict[int, int] = field(default_factory=dict)
    _ties: int = 0

    def add(self, run: Run, now: float) -> float | None:
        """A request arrives. Returns when to call `settle`, if that is news."""
        self.waiting.append(run)
        if self._leap is None:
            return self._begin(now)
        if self._leap.prefill == 0:  # only decoding: it joins at the next step
            steps = max(1, math.ceil((now - self._leap.begin) / self._leap.step_s))
            if steps < self._leap.steps:
                self._leap.steps = steps
                return self._leap.end
        return None

    def settle(self, now: float) -> float | None:
        """The leap is over: count it and begin the next. Returns its end; None when idle, or when called early."""
        leap = self._leap
        if leap is None or now < leap.end - 1e-9:
            return None
        self._leap = None
        self._steps += leap.steps
        if self.decoding:
            key = round(leap.step_s, 5)
            self.gaps[key] = self.gaps.get(key, 0) + leap.steps * len(self.decoding)
        while self.decoding and self.decoding[0][0] <= self._steps:
            self._over(heapq.heappop(self.decoding)[2], now)
        self._computed(leap.prefill, now)
        return self._begin(now)

    def die(self) -> list[Run]:
        """Everything that was on it."""
        runs = [*self.waiting, *(run for _, _, run in self.decoding)]
        self.waiting.clear()
        self.decoding.clear()
        self._leap = None
        return runs

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _begin(self, now: float) -> float | None:
        prefill = self._planned(now)
        decoding = len(self.decoding)
        if not prefill and not decoding:
            return None
        step_s = prefill / self.model.prefill_tokens_per_s
        if decoding:
            step_s += self.model.decode_step_s + self.model.decode_seq_s * decoding
        steps = 1 if prefill else self.decoding[0][0] - self._steps
        self._leap = _Leap(now, step_s, steps, prefill)
        return self._leap.end

    def _planned(self, now: float) -> int:
        """Prompt tokens that the next step computes; those whose turn comes look into the cache."""
        budget = self.model.step_tokens
        for run in self.waiting:
            if run.hit_blocks < 0 and not self._admit(run, now):
                break
            budget -= min(budget, run.request.prompt_tokens - run.computed)
            if not budget:
                break
        return self.model.step_tokens - budget

    def _admit(self, run: Run, now: float) -> bool:
        names = run.request.names.tolist()
        hits = 0
        while hits < len(names) and (names[hits] in self._cache or names[hits] in self._used):
            hits += 1
        capacity = self.model.cache_tokens // self.model.block_size_tokens
        wanted = sum(name not in self._used for name in names)
        if self._used and len(self._used) + wanted > capacity:
            return False  # running sequences need the room
        for name in names:
            self._cache.pop(name, None)
            self._used[name] = self._used.get(name, 0) + 1
        over = min(len(self._cache), len(self._cache) + len(self._used) - capacity)
        if over > 0:
            evicted = [self._cache.popitem(last=False)[0] for _ in range(over)]
            self.listener.removed(self.number, np.array(evicted, np.uint64), now)
        run.hit_blocks = run.stored = hits
        run.computed = min(hits * self.model.block_size_tokens, run.request.prompt_tokens - 1)
        return True

    def _computed(self, tokens: int, now: float) -> None:
        self.computed_tokens += tokens
        while tokens and self.waiting:
            run = self.waiting[0]
            share = min(tokens, run.request.prompt_tokens - run.computed)
            tokens -= share
            run.computed += share
            done = run.computed == run.request.prompt_tokens
            full = len(run.request.names) if done else run.computed // self.model.block_size_tokens
            if full > run.stored:
                self.listener.stored(self.number, run.request.names[run.stored : full], now)
                run.stored = full
            if not done:
                return
            self.waiting.popleft()
            self.listener.first_token(run, now)
            if run.request.output_tokens <= 1:
                self._over(run, now)
            else:
                self._ties += 1
                heapq.heappush(self.decoding, (self._steps + run.request.output_tokens - 1, self._ties, run))

    def _over(self, run: Run, now: float) -> None:
        for name in reversed(run.request.names.tolist()):  # the tail is evicted before the head
            self._used[name] -= 1
            if not self._used[name]:
                del self._used[name]
                self._cache[name] = None
        self.listener.finished(run, now)
