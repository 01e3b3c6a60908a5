"""Engines that store, evict, clear and lie; a bus that loses, repeats, delays and garbles; workers that die.

After each round of it a router's index must be what a dictionary says that the workers hold.
"""

import asyncio
import random
from collections import Counter, defaultdict, deque
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import msgspec

from tandem.core.cards import EngineFacts, InstanceCard
from tandem.core.kv_events import AllBlocksCleared, BlockRemoved, BlockStored, KvEvent, KvEventBatch
from tandem.core.kv_updates import KvChange, KvState, KvStateAsk, KvUpdate
from tandem.errors import Unavailable
from tandem.kv.blocks import block_hashes, chain_root, to_bytes
from tandem.kv.holders import TIERS
from tandem.kv.ledger import BlockLedger
from tandem.observe import metrics
from tandem.router.kv_rule import KvWeights, kv_rule
from tandem.router.kv_sync import PoolSync, _each
from tandem.router.pool import WorkerPool
from tandem.transport.ports import BusMessage

SIZE = 4
WORKERS = 6
OUTCOMES = ("applied", "beat", "waiting", "repeated", "gap", "dead", "garbage")


@dataclass
class FuzzedWorker:
    """An engine, its ledger, and a dictionary of what it holds."""

    instance_id: str
    rng: random.Random
    ledger: BlockLedger = field(default_factory=lambda: BlockLedger("m", SIZE))
    batch_seq: int = -1
    chains: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Tokens up to a block's end, by the engine's own hash of it."""
    held: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    """Engine hashes by tier."""
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def card(self) -> InstanceCard:
        facts = EngineFacts(
            engine="simulated", engine_version="1", engine_id=self.instance_id, model_path="m", max_model_len=4096,
            block_size_tokens=SIZE, kv_blocks_total=1000, block_bytes=0, max_num_seqs=8, max_num_batched_tokens=512,
        )  # fmt: skip
        return InstanceCard(
            instance_id=self.instance_id, namespace="n", component="c", endpoints=[], address="", engine=facts,
            extra={"kv_updates": "1"},
        )  # fmt: skip

    def truth(self, tier: str) -> set[int]:
        """Our names of what it holds."""
        return {block_hashes(self.chains[h], SIZE, chain_root("m"))[-1] for h in self.held[tier]}

    def step(self) -> list[KvUpdate]:
        """Some events of its engine, and what the worker says of them."""
        self.batch_seq += 1
        if self.rng.random() < 0.005:  # the engine's own events are lost: it may claim nothing any more
            self.batch_seq += 1
            self._clear()
            self.dropped["gap"] += 1
        batch = KvEventBatch(seq=self.batch_seq, events=[self._event() for _ in range(self.rng.choice((1, 1, 3)))])
        changes = self.ledger.apply(batch)
        if self.rng.random() < 0.02:
            assert self.ledger.apply(batch) == []
            self.dropped["repeated"] += 1
        return [KvUpdate(instance_id=self.instance_id, seq=self.ledger.seq, changes=changes)] if changes else []

    def _event(self) -> KvEvent:
        draw = self.rng.random()
        if draw < 0.003:
            self._clear()
            return AllBlocksCleared()
        if draw < 0.08:
            return self._lie()
        known = list(self.chains)
        if draw < 0.45 and known:
            tier = self.rng.choice(TIERS)
            gone = self.rng.sample(known, min(len(known), self.rng.choice((1, 2, 8))))
            self.dropped["unknown_block"] += sum(h not in self.held[tier] for h in gone)
            self.held[tier] -= set(gone)
            for each in gone:
                if not any(each in self.held[t] for t in TIERS):
                    del self.chains[each]
            return BlockRemoved(engine_block_hashes=gone, tier=tier)
        parent = self.rng.choice([None, *known[-20:]])
        tokens = self.chains[parent] if parent is not None else ()
        new, hashes = [self.rng.randrange(3) for _ in range(SIZE * self.rng.choice((1, 1, 2, 5)))], []
        for end in range(SIZE, len(new) + 1, SIZE):
            chain = (*tokens, *new[:end])
            hashes.append(hash((self.instance_id, chain)))
            self.chains[hashes[-1]] = chain
        tier = self.rng.choice(("gpu", "gpu", "gpu", "host", "disk"))
        self.held[tier].update(hashes)
        return stored(hashes, new, parent, tier=tier)

    def _lie(self) -> KvEvent:
        """An event that cannot be used."""
        why = self.rng.choice(("foreign_block_size", "unknown_parent", "garbage", "unknown_block", "unknown_tier"))
        self.dropped[why] += 1
        match why:
            case "foreign_block_size":
                return stored([-1], [1] * 16, None, block_size_tokens=16)
            case "unknown_parent":
                return stored([-1], [1] * SIZE, -2)
            case "garbage":
                return stored([-1], self.rng.choice(([1] * (SIZE - 1), [-5] * SIZE)), None)
            case "unknown_block":
                return BlockRemoved(engine_block_hashes=[-1])
        return BlockRemoved(engine_block_hashes=[-1], tier="moon")

    def _clear(self) -> None:
        self.chains.clear()
        self.held.clear()


def stored(hashes: list[int], tokens: list[int], parent: int | None, **more: Any) -> BlockStored:
    about = {"block_size_tokens": SIZE, **more}
    return BlockStored(engine_block_hashes=hashes, token_ids=tokens, parent_engine_block_hash=parent, **about)


class Fuzz:
    """A router and its workers, with a bad bus between them."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.workers: list[FuzzedWorker] = []
        self.dead = ["never-was"]
        self.late: list[bytes] = []
        self.old: deque[bytes] = deque(maxlen=200)
        self.events = 0
        self.said: Counter[str] = Counter()
        """What a router must have counted, where that can be known."""
        self.pool = WorkerPool(kv_rule(KvWeights()), SIZE)
        runtime: Any = SimpleNamespace(call=self._call)
        self.sync = PoolSync(runtime, "c", lambda _: self.pool, "r")
        self._before = {outcome: metrics.ROUTER_KV_UPDATES.value(outcome) for outcome in OUTCOMES}

    def counted(self, outcome: str) -> float:
        return metrics.ROUTER_KV_UPDATES.value(outcome) - self._before[outcome]

    async def run(self, events: int) -> None:
        """Rounds of mischief until so many events have happened, each followed by calm and a comparison."""
        while self.events < events:
            if len(self.workers) < WORKERS or self.rng.random() < 0.05:
                self._come_and_go()
            for _ in range(200):
                await self._mischief()
            await self._calm()
            self.compare()

    def compare(self) -> None:
        """The index against the dictionaries."""
        everything: set[int] = set()
        for worker in self.workers:
            number = self.pool.number((worker.instance_id, None))
            assert number is not None
            for tier in TIERS:
                truth = worker.truth(tier)
                assert set(self.pool.index.held_by(number, tier).tolist()) == truth
                everything |= truth
            assert worker.ledger.dropped == worker.dropped
        assert len(self.pool.index) == len(everything)
        assert (self.counted("dead"), self.counted("garbage")) == (self.said["dead"], self.said["garbage"])

    def _come_and_go(self) -> None:
        if len(self.workers) == WORKERS:
            gone = self.workers.pop(self.rng.randrange(WORKERS))
            self.dead.append(gone.instance_id)
        while len(self.workers) < WORKERS:
            self.workers.append(FuzzedWorker(f"{self.rng.getrandbits(64):016x}", self.rng))
        self.late.clear()
        self.old.clear()
        self.sync.seen([worker.card for worker in self.workers])

    async def _mischief(self) -> None:
        worker = self.rng.choice(self.workers)
        messages = []
        for update in worker.step():
            self.events += sum(max(1, len(change.names) // 8) for change in update.changes)
            raw, draw = msgspec.msgpack.encode(update), self.rng.random()
            if draw < 0.02:
                continue  # lost
            if draw < 0.05:
                self.late.append(raw)
                continue
            messages += [raw] * (2 if draw < 0.08 else 1)
            self.old.append(raw)
        if self.old and self.rng.random() < 0.05:
            messages.append(self.rng.choice(self.old))  # long over: what it stored may be gone since
        if self.late and self.rng.random() < 0.2:
            messages.append(self.late.pop(self.rng.randrange(len(self.late))))
        if self.rng.random() < 0.03:
            messages.append(self.rng.choice((b"", b"\xc1", self.rng.randbytes(30), b"\x80")))
            self.said["garbage"] += 1
        if self.rng.random() < 0.03:
            change = KvChange("stored", "gpu", to_bytes([self.rng.getrandbits(64) | 1]))
            words = KvUpdate(instance_id=self.rng.choice(self.dead), seq=self.rng.randrange(99), changes=[change])
            messages.append(msgspec.msgpack.encode(words))
            self.said["dead"] += 1
        await self._deliver(messages)
        if self.rng.random() < 0.3:
            await asyncio.sleep(0)  # states arrive between updates, or after many

    async def _calm(self) -> None:
        """What was late comes, and everybody gives a sign of life, until all is known."""
        await self._deliver(self.late)
        self.late.clear()
        async with asyncio.timeout(10):
            while True:
                beats = [KvUpdate(instance_id=w.instance_id, seq=w.ledger.seq) for w in self.workers]
                await self._deliver([msgspec.msgpack.encode(beat) for beat in beats])
                if self.sync.warm:
                    return
                await asyncio.sleep(0)

    async def _deliver(self, messages: list[bytes]) -> None:
        async def bus() -> AsyncIterator[BusMessage]:
            for raw in messages:
                yield BusMessage("kv", raw)

        await _each(bus(), KvUpdate, self.sync.told)

    async def _call(
        self, card: InstanceCard, endpoint: str, ask: KvStateAsk, _: object
    ) -> AsyncGenerator[KvState, None]:
        assert endpoint == "kv_state"
        if self.rng.random() < 0.1:
            raise Unavailable("not now")
        ledger = next(worker.ledger for worker in self.workers if worker.instance_id == card.instance_id)
        seq, parts = ledger.seq, ledger.state()
        for part in parts:
            if self.rng.random() < 0.2:
                await asyncio.sleep(0)
            yield KvState(seq=seq, changes=part)
