"""The live picture of a component: a watch on each store and probes of the request plane around `ViewState`."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Sequence

import msgspec

from tandem.core.cards import InstanceCard
from tandem.errors import ServingError, Unavailable
from tandem.runtime.rules import PROTOCOL, Probe, ViewState, joined
from tandem.transport.ports import RequestClient, Store, StoreEvent

log = logging.getLogger(__name__)

_decoder = msgspec.json.Decoder(InstanceCard)
_RETRY_S = 1.0


class LiveView:
    """Implements `ports.InstanceView` for the keys under `prefix`."""

    def __init__(
        self, stores: Sequence[Store], client: RequestClient, prefix: str, *, ttl_s: float, probe_timeout_s: float
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._probe_timeout_s = probe_timeout_s
        self._states = [ViewState(ttl_s) for _ in stores]
        self._picture: tuple[InstanceCard, ...] = ()
        self._cards: dict[str, InstanceCard] = {}
        self._changed = asyncio.Event()
        self._probes: set[asyncio.Task[None]] = set()
        self._watches = [
            asyncio.create_task(self._run(store, state), name=f"view {prefix}")
            for store, state in zip(stores, self._states, strict=True)
        ]

    def all(self) -> Sequence[InstanceCard]:
        return self._picture

    def get(self, instance_id: str) -> InstanceCard | None:
        return self._cards.get(instance_id)

    async def wait_for(self, count: int, *, timeout_s: float | None = None) -> Sequence[InstanceCard]:
        try:
            async with asyncio.timeout(timeout_s):
                while len(self._picture) < count:
                    await self._changed.wait()
        except TimeoutError:
            there = len(self._picture)
            raise Unavailable(f"{there} of {count} instances under {self._prefix} after {timeout_s:g} s") from None
        return self._picture

    async def changes(self) -> AsyncIterator[Sequence[InstanceCard]]:
        told: Sequence[InstanceCard] | None = None
        while True:
            changed = self._changed
            if told != self._picture:
                told = self._picture
                yield told
            else:
                await changed.wait()

    def report_lost(self, instance_id: str) -> None:
        for state in self._states:
            self._start(state, state.report_lost(instance_id))
        self._refresh()

    async def aclose(self) -> None:
        """Stop watching; the last picture stays. Safe to repeat."""
        tasks = [*self._watches, *self._probes]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def _run(self, store: Store, state: ViewState) -> None:
        while True:
            try:
                async with store.watch(self._prefix) as events:
                    async for event in events:
                        self._on_event(state, event)
                        self._refresh()
                return  # the store was closed by us
            except ServingError as error:
                log.warning("view.watch_failed prefix=%s reason=%r", self._prefix, error.message)
            state.on_outage()
            self._refresh()
            await asyncio.sleep(_RETRY_S)

    def _on_event(self, state: ViewState, event: StoreEvent) -> None:
        match event.kind:
            case "put":
                try:
                    card = _decoder.decode(event.value)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    log.warning("view.card_unreadable key=%s reason=%r", event.key, str(error))
                    return
                if card.protocol == PROTOCOL:
                    state.on_put(card)
                else:
                    log.warning("view.other_protocol key=%s theirs=%d ours=%d", event.key, card.protocol, PROTOCOL)
            case "delete":
                gone = event.key.rpartition("/")[2]
                state.on_delete(gone)
                for other in self._states:
                    other.on_gone_elsewhere(gone)
            case "outage":
                log.warning("view.outage prefix=%s instances=%d", self._prefix, len(self._picture))
                state.on_outage()
            case "synced":
                self._start(state, state.on_synced(time.monotonic()))

    def _refresh(self) -> None:
        picture = joined(self._states)
        if picture == self._picture:
            return
        self._picture = picture
        self._cards = {card.instance_id: card for card in picture}
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _start(self, state: ViewState, probes: Iterable[Probe]) -> None:
        for probe in probes:
            task = asyncio.create_task(self._probe(state, probe), name=f"probe {probe.address}")
            self._probes.add(task)
            task.add_done_callback(self._probes.discard)

    async def _probe(self, state: ViewState, probe: Probe) -> None:
        await asyncio.sleep(probe.after_s)
        identity = await self._client.probe(probe.address, timeout_s=self._probe_timeout_s)
        # A listener without an identity is believed; another instance on a reused port is not.
        answers = identity in ("", probe.instance_id)
        self._start(state, state.on_probe(probe, answers=answers, now=time.monotonic()))
        self._refresh()
