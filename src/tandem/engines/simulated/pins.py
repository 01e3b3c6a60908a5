"""Blocks of finished prefills, kept for the decode engine that will read them."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tandem.engines.simulated.cache import BlockCache
from tandem.engines.simulated.transfer import Blocks, Pull


@dataclass(slots=True)
class _Pin:
    blocks: list[int]
    lease: asyncio.Task[None]
    reading: bool = False
    lapsed: bool = False


class Pins:
    """Pinned hand-offs of one engine, each on a lease; the `BlockSource` of its side channel."""

    def __init__(
        self, cache: BlockCache, *, sleep: Callable[[float], Awaitable[object]], freed: Callable[[], None]
    ) -> None:
        self.engine_id = ""
        self._cache = cache
        self._sleep = sleep
        self._freed = freed
        self._pins: dict[str, _Pin] = {}
        self._ids = itertools.count(1)

    def pin(self, blocks: list[int], *, lease_s: float) -> str:
        """Keep blocks that we hold until they are read, freed, or `lease_s` has passed."""
        name = f"{self.engine_id[:8]}-{next(self._ids)}"
        lease = asyncio.create_task(self._lapse(name, lease_s), name=f"simulated-pin-{name}")
        self._pins[name] = _Pin(blocks, lease)
        return name

    def free(self, name: str) -> None:
        """Safe to repeat. A peer that is reading breaks nothing: it has its contents already."""
        pin = self._pins.pop(name, None)
        if pin is not None:
            pin.lease.cancel()
            self._cache.release(pin.blocks)
            self._freed()

    def opened(self, pull: Pull) -> Blocks:
        if pull.engine_id != self.engine_id:
            return Blocks(refused="another engine lives at this address now")
        pin = self._pins.get(pull.handoff_id)
        if pin is None or pin.reading:
            return Blocks(refused="the hand-off is unknown, read or freed")
        pin.reading = True
        return Blocks(contents=[self._cache.content[block] for block in pin.blocks[pull.skip_blocks :]])

    def closed(self, pull: Pull, *, done: bool) -> None:
        pin = self._pins.get(pull.handoff_id)
        if pin is None:
            return
        pin.reading = False
        if done or pin.lapsed:
            self.free(pull.handoff_id)

    def close(self) -> None:
        for name in list(self._pins):
            self.free(name)

    async def _lapse(self, name: str, lease_s: float) -> None:
        await self._sleep(lease_s)
        pin = self._pins[name]
        pin.lapsed = True
        if not pin.reading:
            self.free(name)
