"""Our own place in the store: one lease, and whatever should be written on it.

Callers say what should be there; one task makes it so, again after every lapsed lease and every store
that came back empty.
"""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from tandem.core.cards import InstanceCard
from tandem.errors import LeaseLost, ServingError
from tandem.transport.ports import Lease, Store

log = logging.getLogger(__name__)

_FIRST_RETRY_S = 0.1
_LONGEST_RETRY_S = 1.0


class KeptRegistration:
    """Implements `ports.Registration`."""

    def __init__(self, registry: "Registry", key: str, card: InstanceCard) -> None:
        self._registry = registry
        self._key = key
        self._card = card

    @property
    def card(self) -> InstanceCard:
        return self._card

    async def update(self, card: InstanceCard) -> None:
        if (card.component, card.instance_id) != (self._card.component, self._card.instance_id):
            raise ValueError("an update keeps component and instance id")
        self._card = card
        await self._registry.write(self._key, msgspec.json.encode(card))

    async def withdraw(self) -> None:
        await self._registry.remove(self._key)


class Registry:
    """What this process has announced."""

    def __init__(self, store: Store, *, ttl_s: float) -> None:
        self._store = store
        self._ttl_s = ttl_s
        self._wanted: dict[str, bytes] = {}
        self._written: dict[str, bytes] = {}
        self._wake = asyncio.Event()
        self._progress = asyncio.Condition()
        self._lease: Lease | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._away = False

    async def announce(self, key: str, card: InstanceCard) -> KeptRegistration:
        """Write `card` under `key` and keep it there. Returns once the store has it."""
        await self.write(key, msgspec.json.encode(card))
        log.info(
            "instance.announced component=%s instance=%s address=%s", card.component, card.instance_id, card.address
        )
        return KeptRegistration(self, key, card)

    async def write(self, key: str, value: bytes) -> None:
        """Return when the store has `value` under `key`, however long it takes; cancelled, it is taken back."""
        before = self._wanted.get(key)
        self._wanted[key] = value
        try:
            await self._until(lambda: self._written.get(key) == value)
        except asyncio.CancelledError:
            if before is None and self._wanted.get(key) == value:
                del self._wanted[key]
                self._wake.set()
            raise

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
        if not self._away:
            log.warning("registry.store_away reason=%r", error.message)
        self._away = True

    def _note_back(self) -> None:
        if self._away:
            log.info("registry.store_back keys=%d", len(self._written))
        self._away = False

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
