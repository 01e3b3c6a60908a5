"""Keeps a pool true to its workers: who is there, what they hold, what other routers send them.

    instances ──► join, leave        updates ──► feed ──► pool        gaps, newcomers ──► kv_state ──► pool

A worker is used from the moment it is there; until its state is known, what we sent it is what we know.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

import msgspec

from tandem.core.cards import InstanceCard
from tandem.core.kv_updates import (
    KvChange,
    KvState,
    KvStateAsk,
    KvUpdate,
    RouterLoad,
    kv_subject,
    router_subject,
)
from tandem.core.load import LoadReport, load_subject
from tandem.errors import ServingError
from tandem.kv.blocks import are_names
from tandem.kv.feed import Feed
from tandem.observe import metrics
from tandem.router.pool import Target, WorkerPool
from tandem.runtime.ports import Runtime
from tandem.transport.ports import BusMessage

_Message = TypeVar("_Message", KvUpdate, LoadReport, RouterLoad)

_log = logging.getLogger(__name__)

SHARE_EVERY_S = 0.1
"""How often routers tell each other what they have sent. Seconds; what came in between is each one's own guess."""
_STALE_S = 2.0
"""A router that said nothing for so long is gone, and what it sent is over or in the workers' reports."""
_RETRY_S = 1.0
"""Pause before a worker that did not give its state is asked again."""


class PoolSync:
    """Follows one component."""

    def __init__(
        self, runtime: Runtime, component: str, pool_of: Callable[[InstanceCard], WorkerPool | None], router_id: str
    ) -> None:
        """
        Args:
            pool_of: the pool that a worker belongs to; None for one that fits no pool.
        """
        self._runtime = runtime
        self._component = component
        self._pool_of = pool_of
        self._router_id = router_id
        self._cards: dict[str, InstanceCard] = {}
        self._feeds: dict[Target, Feed] = {}
        self._asking: dict[Target, asyncio.Task[None]] = {}
        self._others: dict[str, tuple[float, RouterLoad]] = {}
        self._pool: WorkerPool | None = None
        self._applied = metrics.ROUTER_KV_UPDATES.labels("applied")
        self._lag = metrics.ROUTER_KV_LAG_SECONDS.labels()

    @property
    def warm(self) -> bool:
        """Whether every worker that tells of its blocks has told all of them."""
        return all(feed.warm for feed in self._feeds.values())

    async def follow(self) -> None:
        """Until cancelled."""
        bus, namespace = self._runtime.bus, self._runtime.namespace
        async with (
            bus.subscribe(kv_subject(namespace, self._component)) as updates,
            bus.subscribe(load_subject(namespace, self._component), max_pending=1024) as loads,
            bus.subscribe(router_subject(namespace, self._component), max_pending=1024) as routers,
            asyncio.TaskGroup() as group,
        ):
            try:
                group.create_task(self._share())
                group.create_task(_each(loads, LoadReport, self._load))
                group.create_task(_each(routers, RouterLoad, self._other))
                group.create_task(_each(updates, KvUpdate, self.told))
                async for cards in self._runtime.instances(self._component).changes():
                    self.seen(cards)
            finally:
                for task in list(self._asking.values()):
                    task.cancel()

    # ── instances ────────────────────────────────────────────────────────────────────────────────

    def seen(self, cards: Sequence[InstanceCard]) -> None:
        """These workers are there now, and no others."""
        here = {card.instance_id: card for card in cards}
        for target in [t for t in self._feeds if t[0] not in here]:
            del self._feeds[target]
            if task := self._asking.pop(target, None):
                task.cancel()
        for gone in [i for i in self._cards if i not in here]:
            pool = self._pool_of(self._cards.pop(gone))
            if pool is not None:
                for target in [t for t in pool.targets if t[0] == gone]:
                    pool.leave(target)
        for card in cards:
            if card.instance_id not in self._cards:
                self._join(card)
        self._count()

    def _join(self, card: InstanceCard) -> None:
        pool = self._pool_of(card)
        if pool is None or card.engine is None:
            _log.error("router.foreign_worker instance=%s component=%s", card.instance_id, self._component)
            return
        self._pool = pool
        self._cards[card.instance_id] = card
        tells = "kv_updates" in card.extra
        ranks = card.engine.data_parallel_size
        blocks = card.engine.kv_blocks_total
        pool.index.reserve((len(pool.targets) + ranks) * blocks)
        for rank in range(ranks):
            target = (card.instance_id, rank if ranks > 1 else None)
            pool.join(target, tells=tells, capacity_blocks=blocks)
            if tells:
                self._feeds[target] = Feed()
                self._ask(target)

    # ── what workers hold ────────────────────────────────────────────────────────────────────────

    def told(self, update: KvUpdate) -> None:
        """A worker tells of its blocks."""
        target: Target = (update.instance_id, None)
        feed = self._feeds.get(target)
        if feed is None:
            target = (update.instance_id, update.dp_rank)
            feed = self._feeds.get(target)
        if feed is None:
            metrics.ROUTER_KV_UPDATES.labels("dead").inc()
            return
        verdict = feed.heard(update)
        if verdict == "applied":  # two hundred thousand times a second, where a cluster is large
            self._applied.inc()
            self._lag.observe(max(0.0, time.time() - update.at))
            self._apply(target, update.changes)
            return
        metrics.ROUTER_KV_UPDATES.labels(verdict).inc()
        if not feed.warm:
            self._ask(target)

    def _apply(self, target: Target, changes: Sequence[KvChange]) -> None:
        pool = self._pool
        if pool is None:
            return
        for change in changes:
            if are_names(change.names):
                pool.told(target, change)
            else:
                metrics.ROUTER_KV_UPDATES.labels("garbage").inc()

    def _ask(self, target: Target) -> None:
        """Fetch a worker's state, once at a time."""
        if target not in self._asking:
            task = asyncio.get_running_loop().create_task(self._repair(target), name=f"kv-state {target[0]}")
            self._asking[target] = task
            task.add_done_callback(lambda _: self._asking.pop(target, None))

    async def _repair(self, target: Target) -> None:
        while (feed := self._feeds.get(target)) is not None and not feed.warm:
            card = self._cards[target[0]]
            try:
                parts = []
                ask = KvStateAsk(target[1] or 0)
                async with aclosing(self._runtime.call(card, "kv_state", ask, KvState)) as answers:
                    async for part in answers:
                        parts.append(part)
            except ServingError as error:
                metrics.ROUTER_KV_REPAIRS.labels("failed").inc()
                _log.warning("router.no_kv_state instance=%s error=%s", target[0], error)
                await asyncio.sleep(_RETRY_S)
                continue
            if self._feeds.get(target) is not feed or self._pool is None or not parts:
                continue
            self._pool.forget(target)
            for part in parts:
                self._apply(target, part.changes)
            following, whole = feed.state_known(parts[0].seq)
            for update in following:
                self._apply(target, update.changes)
            metrics.ROUTER_KV_REPAIRS.labels("whole" if whole else "again").inc()
            if whole and self.warm:
                _log.info("router.warm component=%s workers=%d", self._component, len(self._feeds))
            self._count()

    def _count(self) -> None:
        told = len(self._feeds)
        warm = sum(feed.warm for feed in self._feeds.values())
        silent = sum("kv_updates" not in card.extra for card in self._cards.values())
        for state, number in (("warm", warm), ("filling", told - warm), ("predicted", silent)):
            metrics.ROUTER_WORKERS.labels(self._component, state).set(number)

    # ── load ─────────────────────────────────────────────────────────────────────────────────────

    def _load(self, report: LoadReport) -> None:
        if self._pool is not None:
            self._pool.heard(report, time.monotonic())

    def _other(self, load: RouterLoad) -> None:
        if load.router_id != self._router_id:
            self._others[load.router_id] = (time.monotonic(), load)
            self._add_others()

    def _add_others(self) -> None:
        now = time.monotonic()
        self._others = {i: (at, load) for i, (at, load) in self._others.items() if now - at < _STALE_S}
        waits: dict[Target, float] = {}
        for _, load in self._others.values():
            for instance_id, rank, wait_s in load.waits:
                waits[instance_id, rank] = waits.get((instance_id, rank), 0.0) + wait_s
        if self._pool is not None:
            self._pool.elsewhere(waits)

    async def _share(self) -> None:
        subject, said = router_subject(self._runtime.namespace, self._component), False
        while True:
            await asyncio.sleep(SHARE_EVERY_S)
            if self._pool is None:
                continue
            waits = [(*target, wait_s) for target, wait_s in self._pool.waits(time.monotonic()).items()]
            if waits or said:
                load = RouterLoad(router_id=self._router_id, waits=waits)
                await self._runtime.bus.publish(subject, msgspec.msgpack.encode(load))
            said = bool(waits)
            if self._others:
                self._add_others()


async def _each(messages: AsyncIterator[BusMessage], kind: type[_Message], take: Callable[[_Message], None]) -> None:
    """Decode and pass on; what does not decode is counted and dropped."""
    decode = msgspec.msgpack.Decoder(kind).decode
    async for message in messages:
        try:
            found = decode(message.payload)
        except msgspec.DecodeError as error:
            metrics.ROUTER_KV_UPDATES.labels("garbage").inc()
            _log.warning("router.garbage subject=%s error=%s", message.subject, error)
            continue
        take(found)
