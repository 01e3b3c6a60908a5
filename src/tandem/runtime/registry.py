"""Our own place in the store: one lease, and whatever should be written on it.

Callers say what should be there; one task makes it so, again after every lapsed lease and every store
that came back empty. With two stores (`Announcements`) each has a task of its own, and none waits for the other.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from tandem.core.cards import InstanceCard
from tandem.errors import LeaseLost, ServingError
from tandem.transport.ports import Lease, Store

log = logging.getLogger(__name__)

_FIRST_RETRY_S = 0.1
_LONGEST_RETRY_S = 1.0
_AWAY_S = 1.0
"""Once a store has forgotten a key, how long a withdrawal waits for another that is away. Seconds."""


class KeptRegistration:
    """Implements `ports.Registration`."""

    def __init__(self, announced: "Announcements", key: str, card: InstanceCard) -> None:
        self._announced = announced
        self._key = key
        self._card = card

    @property
    def card(self) -> InstanceCard:
        return self._card

    async def update(self, card: InstanceCard) -> None:
        if (card.component, card.instance_id) != (self._card.component, self._card.instance_id):
            raise ValueError("an update keeps component and instance id")
        self._card = card
        await self._announced.write(self._key, msgspec.json.encode(card))

    async def withdraw(self) -> None:
        await self._announced.remove(self._key)


class Announcements:
    """What this process has announced, in each of its stores. It counts as soon as one of them has it."""

    def __init__(self, stores: Sequence[Store], *, ttl_s: float) -> None:
        self._registries = [Registry(store, ttl_s=ttl_s) for store in stores]

    async def announce(self, key: str, card: InstanceCard) -> KeptRegistration:
        """Write `card` under `key` and keep it there. Returns once a store has it."""
        await self.write(key, msgspec.json.encode(card))
        log.info(
            "instance.announced component=%s instance=%s address=%s", card.component, card.instance_id, card.address
        )
        return KeptRegistration(self, key, card)

    async def write(self, key: str, value: bytes) -> None:
        """Return when a store has `value` under `key`; the others get it as they come. Cancelled, it is taken back."""
        before = [registry.want(key, value) for registry in self._registries]
        try:
            await self._over([registry.written(key, value) for registry in self._registries], first=True)
        except asyncio.CancelledError:
            for registry, old in zip(self._registries, before, strict=True):
                registry.unwant(key, value, old)
            raise

    async def remove(self, key: str) -> None:
        """Return when no store has a `key` of ours; one that is away is not waited for if another has answered."""
        await self._over([registry.remove(key) for registry in self._registries])

    async def withdraw_all(self) -> None:
        """Take back everything, likewise."""
        await self._over([registry.withdraw_all() for registry in self._registries])

    async def revoke(self) -> None:
        """Stop keeping, end the leases. Safe to repeat."""
        await asyncio.gather(*(registry.revoke() for registry in self._registries))

    async def _over(self, work: Sequence[Coroutine[Any, Any, None]], *, first: bool = False) -> None:
        """Wait for what is done in each store; with `first` for one of them, else for all that are not away."""
        tasks = [asyncio.create_task(one, name="store") for one in work]
        try:
            while True:
                done, rest = await asyncio.wait(
                    tasks,
                    timeout=_AWAY_S,
                    return_when=asyncio.FIRST_COMPLETED if first else asyncio.ALL_COMPLETED,
                )
                away = all(
                    registry.away for registry, task in zip(self._registries, tasks, strict=True) if task in rest
                )
                if done and (first or away):
                    return
        finally:
            for task in tasks:
                task.cancel()


class Registry:
    """What should be in one store, and the task that sees to it."""

    def __init__(self, store: Store, *, ttl_s: float) -> None:
        self._store = store
        self._ttl_s = ttl_s
        self._wanted: dict[str, bytes] = {}
        self._written: dict[str, bytes] = {}
        self._wake = asyncio.Event()
        self._progress = asyncio.Condition()
        self._lease: Lease | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.away = False
        """Whether the store did not answer when it was last asked."""

    def want(self, key: str, value: bytes) -> bytes | None:
        """The store should have `value` under `key` from now on. Returns what it should have had before."""
        before = self._wanted.get(key)
        self._wanted[key] = value
        return before

    def unwant(self, key: str, value: bytes, before: bytes | None) -> None:
        """Take `want` back, where nothing was wanted under `key` before and nothing else since."""
        if before is None and self._wanted.get(key) == value:
            del self._wanted[key]
            self._wake.set()

    async def written(self, key: str, value: bytes) -> None:
        """Return when the store has what is wanted, however long it takes."""
        await self._until(lambda: self._written.get(key) == value)

    async def remove(self, key: str) -> None:
        """Return when the store has no `key` of ours. Safe to repeat."""
        if self._wanted.pop(key, None) is not None or key in self._written:
            await self._until(lambda: key not in self._written)

    async def withdraw_all(self) -> None:
        """Take back everything."""
        self._wanted.clear()
        if self._written:
            await self._until(lambda: not self._written)

    async def revoke(self) -> None:
        """Stop keeping, end the lease. Safe to repeat."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
            self._keeper = None
        lease, self._lease = self._lease, None
        if lease is not None:
            await lease.revoke()

    async def _until(self, done: Callable[[], bool]) -> None:
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name="registry")
        self._wake.set()
        async with self._progress:
            await self._progress.wait_for(done)

    async def _keep(self) -> None:
        retry_s = _FIRST_RETRY_S
        while True:
            try:
                self._lease = await self._store.grant(self._ttl_s)
                retry_s = _FIRST_RETRY_S
                await self._keep_on(self._lease)
                log.warning("registry.lease_lost keys=%d", len(self._wanted))
            except ServingError as error:
                self._note_away(error)
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, _LONGEST_RETRY_S)
            # Nothing of the old lease counts as written; its keys vanish with it.
            self._written.clear()
            async with self._progress:
                self._progress.notify_all()

    async def _keep_on(self, lease: Lease) -> None:
        """Make the store what is wanted, until `lease` is lost."""
        lost = asyncio.create_task(lease.wait_lost(), name="registry lease lost")
        try:
            while not lost.done():
                self._wake.clear()
                try:
                    await self._reconcile(lease)
                except LeaseLost:
                    return
                except ServingError as error:
                    self._note_away(error)
                    await asyncio.wait([lost], timeout=_LONGEST_RETRY_S)
                    continue
                self._note_back()
                waking = asyncio.create_task(self._wake.wait(), name="registry wake")
                try:
                    await asyncio.wait([waking, lost], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    waking.cancel()
        finally:
            lost.cancel()

    def _note_away(self, error: ServingError) -> None:
        """Once per outage: it is asked again every second, for however long."""
        if not self.away:
            log.warning("registry.store_away reason=%r", error.message)
        self.away = True

    def _note_back(self) -> None:
        if self.away:
            log.info("registry.store_back keys=%d", len(self._written))
        self.away = False

    async def _reconcile(self, lease: Lease) -> None:
        while self._written != self._wanted:
            for key in [key for key in self._written if key not in self._wanted]:
                await self._store.delete(key)
                del self._written[key]
            for key, value in list(self._wanted.items()):
                if self._written.get(key) != value:
                    await self._store.put(key, value, lease=lease)
                    self._written[key] = value
            async with self._progress:
                self._progress.notify_all()
