"""The planes' ports over a hub in this process. Over a socket: `embedded_remote.py`; its host: `embedded_host.py`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

from tandem.transport.embedded_hub import EmbeddedHub
from tandem.transport.hub_queue import Deliver, QueueState
from tandem.transport.lease import KeptLease, noting_loss
from tandem.transport.ports import BusMessage, Delivery, LaneDepth, Lease, StoreEvent

__all__ = ["EmbeddedBus", "EmbeddedHub", "EmbeddedStore", "EmbeddedWorkQueue"]


class EmbeddedStore:
    """Implements `ports.Store`."""

    def __init__(self, hub: EmbeddedHub) -> None:
        self._hub = hub
        self._leases: set[KeptLease] = set()

    async def grant(self, ttl_s: float) -> KeptLease:
        hub = self._hub
        lease = KeptLease(hub.state.store.grant(ttl_s, hub.now()), ttl_s, self._renew, self._revoke)
        hub.arm(hub.now() + ttl_s)
        self._leases.add(lease)
        return lease

    async def put(self, key: str, value: bytes, *, lease: Lease | None = None) -> None:
        self._put(key, value, lease, only_if_absent=False)

    async def create(self, key: str, value: bytes, *, lease: Lease | None = None) -> bool:
        return self._put(key, value, lease, only_if_absent=True)

    async def get(self, key: str) -> bytes | None:
        return self._hub.state.store.get(key)

    async def get_prefix(self, prefix: str) -> dict[str, bytes]:
        return self._hub.state.store.get_prefix(prefix)

    async def delete(self, key: str) -> bool:
        there = self._hub.state.store.has(key)
        self._hub.apply(self._hub.state.store.delete(key))
        return there

    def watch(self, prefix: str) -> AbstractAsyncContextManager[AsyncIterator[StoreEvent]]:
        return self._hub.watch(prefix)

    async def aclose(self) -> None:
        for lease in self._leases:
            lease.stop()
        self._leases.clear()

    def _put(self, key: str, value: bytes, lease: Lease | None, *, only_if_absent: bool) -> bool:
        lease_id = None if lease is None else lease.id
        with noting_loss(lease):
            done, effects = self._hub.state.store.put(key, value, lease_id, only_if_absent=only_if_absent)
        self._hub.apply(effects)
        return done

    async def _renew(self, lease: int) -> bool:
        return self._hub.state.store.renew(lease, self._hub.now())

    async def _revoke(self, lease: int) -> None:
        self._hub.apply(self._hub.state.store.revoke(lease))


class EmbeddedDelivery:
    """Implements `ports.Delivery`."""

    def __init__(self, hub: EmbeddedHub, queue: QueueState, made: Deliver) -> None:
        self._hub = hub
        self._queue = queue
        self._made = made

    @property
    def lane(self) -> str:
        return self._made.lane

    @property
    def payload(self) -> bytes:
        return self._made.payload

    @property
    def number(self) -> int:
        return self._made.number

    async def in_progress(self) -> None:
        self._queue.in_progress(self._made.seq, self._made.number, self._hub.now())

    async def ack(self) -> None:
        self._queue.ack(self._made.seq)

    async def nak(self, delay_s: float = 0.0) -> None:
        now = self._hub.now()
        self._hub.apply(self._queue.nak(self._made.seq, self._made.number, delay_s, now))
        self._hub.arm(now + delay_s)


class EmbeddedWorkQueue:
    """Implements `ports.WorkQueue`."""

    def __init__(self, hub: EmbeddedHub, queue: QueueState) -> None:
        self.ack_wait_s = queue.ack_wait_s
        self._hub = hub
        self._queue = queue

    async def put(self, lane: str, job_id: str, payload: bytes) -> None:
        self._hub.apply(self._queue.put(lane, job_id, payload, self._hub.now()))

    async def take(self, lanes: Sequence[str], *, timeout_s: float) -> list[Delivery]:
        made = await self._hub.take(self._queue, lanes, timeout_s)
        return [] if made is None else [EmbeddedDelivery(self._hub, self._queue, made)]

    async def cancel(self, job_id: str) -> bool:
        return self._queue.cancel(job_id)

    async def lanes(self) -> dict[str, LaneDepth]:
        return self._queue.lanes()

    async def drop_lane(self, lane: str, *, into: str) -> None:
        self._hub.apply(self._queue.drop_lane(lane, into, self._hub.now()))


class EmbeddedBus:
    """Implements `ports.Bus`."""

    def __init__(self, hub: EmbeddedHub) -> None:
        self._hub = hub

    async def publish(self, subject: str, payload: bytes) -> None:
        self._hub.publish(subject, payload)

    def subscribe(
        self, subject: str, *, max_pending: int = 65536
    ) -> AbstractAsyncContextManager[AsyncIterator[BusMessage]]:
        return self._hub.subscribe(subject, max_pending)

    async def work_queue(self, name: str, *, ack_wait_s: float) -> EmbeddedWorkQueue:
        return EmbeddedWorkQueue(self._hub, self._hub.state.queue(name, ack_wait_s))

    @property
    def connected(self) -> bool:
        return True

    async def aclose(self) -> None:
        """Nothing to close: the hub belongs to its host."""
