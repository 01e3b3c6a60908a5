"""The router by KV cache: names a prompt's blocks, asks its pools, remembers sessions, counts what it did.

One pool for decode workers and, where there are any, one for prefill workers: the choice names the decode
worker, and as a hint the prefill worker in whose lane the prompt's job should wait: one whose KV that decode
worker can read.
"""

import asyncio
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from tandem.core.cards import InstanceCard
from tandem.core.routing import RouteChoice, RouteRequest
from tandem.kv.blocks import Names, block_hashes, chain_root
from tandem.observe import metrics
from tandem.router.kv_rule import KvWeights, kv_rule
from tandem.router.kv_sync import PoolSync
from tandem.router.pairs import Pairs
from tandem.router.pool import Decision, WorkerPool
from tandem.runtime.ports import Runtime
from tandem.settings import RouterSettings

_log = logging.getLogger(__name__)
_MOST_SESSIONS = 100_000
"""Sessions remembered; beyond, the one that was silent longest is forgotten."""


class _Side:
    """One component: its pool, made when its first worker says how large a block is."""

    def __init__(self, component: str, weights: KvWeights) -> None:
        self.component = component
        self.pool: WorkerPool | None = None
        self._weights = weights
        self._model = ""
        self._root = 0
        self._prompt_blocks = metrics.ROUTER_PROMPT_BLOCKS.labels(component)
        self._told = metrics.ROUTER_OVERLAP_BLOCKS.labels(component, "told")
        self._predicted = metrics.ROUTER_OVERLAP_BLOCKS.labels(component, "predicted")

    def pool_of(self, card: InstanceCard) -> WorkerPool | None:
        if card.engine is None:
            return None
        if self.pool is None:
            self.pool = WorkerPool(kv_rule(self._weights), card.engine.block_size_tokens)
            self._model = card.model.served_model_name if card.model else ""
            self._root = chain_root(self._model)
        return self.pool if card.engine.block_size_tokens == self.pool.block_size_tokens else None

    def naming(self, request: RouteRequest) -> tuple[int, int]:
        """Block size in tokens and root: what a prompt's names depend on. (0, 0) while nobody is known."""
        if self.pool is None:
            return 0, 0
        root, salt, lora = self._root, request.cache_salt, request.lora_name
        if salt is not None or lora is not None:
            root = chain_root(self._model, lora_name=lora, cache_salt=salt)
        return self.pool.block_size_tokens, root

    def decide(self, request: RouteRequest, names: Names, draw: float, **about: object) -> Decision | None:
        """A choice, counted; None while nobody is known."""
        if self.pool is None or not request.candidates:
            return None
        decision = self.pool.choose(request, names, now=time.monotonic(), draw=draw, **about)  # type: ignore[arg-type]
        self._prompt_blocks.inc(decision.prompt_blocks)
        self._told.inc(decision.found_blocks)
        self._predicted.inc(decision.predicted_blocks - decision.found_blocks)
        return decision


@dataclass(slots=True)
class _Sessions:
    """Which instance a session went to last."""

    ttl_s: float
    _last: OrderedDict[str, tuple[str, float]] = field(default_factory=OrderedDict)

    def find(self, session_id: str, now: float) -> str | None:
        found = self._last.get(session_id)
        return found[0] if found is not None and now - found[1] <= self.ttl_s else None

    def note(self, session_id: str, instance_id: str, now: float) -> None:
        self._last[session_id] = (instance_id, now)
        self._last.move_to_end(session_id)
        if len(self._last) > _MOST_SESSIONS:
            self._last.popitem(last=False)


class KvRouter:
    """A `Router` by KV cache. Used by one event loop; `follow` must run beside it."""

    def __init__(
        self,
        runtime: Runtime,
        settings: RouterSettings,
        *,
        component: str,
        draw: Callable[[], float] = random.random,
    ) -> None:
        weights = KvWeights(
            overlap_weight=settings.overlap_weight,
            temperature=settings.temperature,
            busy_wait_s=settings.busy_wait_s or None,
        )
        self._draw = draw
        self._seconds = metrics.ROUTER_DECISION_SECONDS.labels()
        self._affinity = settings.session_affinity
        self._sessions = _Sessions(settings.session_ttl_s)
        self._decode = _Side(component, weights)
        self._prefill = _Side(settings.prefill_component, weights)
        self._pairs = Pairs(runtime.instances(component), runtime.instances(settings.prefill_component))
        self._syncs = [
            PoolSync(runtime, side.component, side.pool_of, runtime.instance_id)
            for side in (self._decode, self._prefill)
        ]

    @property
    def warm(self) -> bool:
        """Whether all that the workers hold is known."""
        return all(sync.warm for sync in self._syncs)

    async def follow(self) -> None:
        """Keep up with workers and other routers, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for sync in self._syncs:
                group.create_task(sync.follow())
            group.create_task(self._measure())

    async def choose(self, request: RouteRequest) -> RouteChoice:
        """See `ports.Router`."""
        begun = time.perf_counter()
        naming = self._decode.naming(request)
        names = _names(request, naming)
        session = None
        if self._affinity != "off" and request.session_id is not None:
            session = self._sessions.find(request.session_id, begun)
        decision = self._decode.decide(
            request,
            names,
            self._draw(),
            session=session,
            session_is_hard=self._affinity == "hard",
            computes=lambda instance_id: not self._pairs.of(instance_id),
        )
        if decision is None:  # nobody has registered with an engine: any of those offered
            choice = RouteChoice(instance_id=min(request.candidates), rule="kv", reason="nothing_known")
        else:
            choice = decision.choice
            if hint := self._hint(choice.instance_id, request, naming, names):
                choice = msgspec.structs.replace(choice, prefill_hint=hint)
        if request.session_id is not None and self._affinity != "off":
            self._sessions.note(request.session_id, choice.instance_id, begun)
        metrics.ROUTER_CHOICES.labels(choice.rule, choice.reason).inc()
        self._seconds.observe(time.perf_counter() - begun)
        return choice

    def prefilled(self, request_id: str) -> None:
        """See `ports.Router`."""
        for side in (self._decode, self._prefill):
            if side.pool is not None:
                side.pool.prefilled(request_id, time.monotonic())

    def finished(self, request_id: str) -> None:
        """See `ports.Router`."""
        for side in (self._decode, self._prefill):
            if side.pool is not None:
                side.pool.finished(request_id, time.monotonic())

    def _hint(self, decode_id: str, request: RouteRequest, naming: tuple[int, int], names: Names) -> str | None:
        """The prefill worker in whose lane the prompt's job should wait; None where nobody prefills for others."""
        readable = self._pairs.of(decode_id)
        if not readable:
            return None
        other = self._prefill.naming(request)
        found = self._prefill.decide(
            msgspec.structs.replace(request, candidates=readable),
            names if other == naming else _names(request, other),
            self._draw(),
            active=False,
        )
        return None if found is None else found.choice.instance_id

    async def _measure(self) -> None:
        while True:
            await asyncio.sleep(5.0)
            for side in (self._decode, self._prefill):
                if side.pool is not None:
                    metrics.ROUTER_INDEX_BLOCKS.labels(side.component).set(len(side.pool.index))
                    metrics.ROUTER_INDEX_BYTES.labels(side.component).set(side.pool.index.table_bytes)


def _names(request: RouteRequest, naming: tuple[int, int]) -> Names:
    """A prompt's blocks, by block size and root."""
    size, root = naming
    return block_hashes(request.token_ids, size, root) if size else ()
