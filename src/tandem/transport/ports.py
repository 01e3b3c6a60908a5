"""What the three planes promise. Every adapter passes the contract suite in tests/contracts for its port.

store     small values under keys, on leases, watched             (embedded, etcd)
bus       messages to whoever listens, and a durable work queue   (embedded, NATS)
requests  calls with streamed answers between instances           (TCP or Unix socket)
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, Self

# ── store ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class StoreEvent:
    """A change under a watched prefix. `synced` and `outage` speak of the watch itself.

    A watch begins with a `put` per existing key and one `synced`. When the store is lost it says
    `outage` once and keeps trying; after reconnecting it replays every key as `put` and says `synced`
    again: what was not replayed is gone, or the store came back empty (the watcher decides which to believe).
    """

    kind: Literal["put", "delete", "synced", "outage"]
    key: str = ""
    value: bytes = b""


class Lease(Protocol):
    """A liveness grant: keys put on it vanish when it ends. Kept alive by the adapter until revoked."""

    @property
    def id(self) -> int:
        """Unique in the store; it also identifies the instance that holds it."""

    async def wait_lost(self) -> None:
        """Return when the store has told us that it no longer knows this lease (not merely an outage)."""

    async def revoke(self) -> None:
        """End it and delete its keys. Safe to repeat, and when the store is gone."""


class Store(Protocol):
    """Small values under `/`-separated keys.

    Every method raises `Unavailable` when the store cannot be reached within the adapter's time-out.
    """

    async def grant(self, ttl_s: float) -> Lease:
        """A new lease that lapses `ttl_s` seconds after its keeper dies."""

    async def put(self, key: str, value: bytes, *, lease: Lease | None = None) -> None:
        """Write. Raises `LeaseLost` when `lease` is no longer known."""

    async def create(self, key: str, value: bytes, *, lease: Lease | None = None) -> bool:
        """Write only if `key` is absent; False when it was there."""

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""

    async def get_prefix(self, prefix: str) -> dict[str, bytes]:
        """All keys that begin with `prefix`, sorted."""

    async def delete(self, key: str) -> bool:
        """True when there was something to delete."""

    def watch(self, prefix: str) -> AbstractAsyncContextManager[AsyncIterator[StoreEvent]]:
        """Everything under `prefix`, then every change, in order, over outages, until the context ends."""

    async def aclose(self) -> None:
        """Close connections. Leases are not revoked: they lapse."""


# ── bus ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class BusMessage:
    """What a subscriber gets. At most once: a slow or disconnected subscriber misses messages."""

    subject: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class LaneDepth:
    """How full one lane of a work queue is."""

    waiting: int
    """Jobs that nobody has taken."""
    claimed: int
    """Jobs delivered and neither acked nor expired."""


class Delivery(Protocol):
    """One attempt of one job. Until `ack`, it comes again to somebody after `ack_wait_s` without a sign of life."""

    @property
    def lane(self) -> str: ...

    @property
    def payload(self) -> bytes: ...

    @property
    def number(self) -> int:
        """1 for the first attempt, 2 for the next."""

    async def in_progress(self) -> None:
        """Claim it for another `ack_wait_s`. An outage of the bus is not an error here."""

    async def ack(self) -> None:
        """The job is over. Kept and repeated over an outage as far as the adapter can; never raises."""

    async def nak(self, delay_s: float = 0.0) -> None:
        """Give it back, to be delivered again after `delay_s`."""


class WorkQueue(Protocol):
    """Durable jobs in lanes. A job is in one lane; anyone may take from any lane."""

    ack_wait_s: float

    async def put(self, lane: str, job_id: str, payload: bytes) -> None:
        """Add a job. A second put of the same `job_id` within two minutes is dropped (a retried publish).

        Raises `Unavailable` when the bus did not confirm it.
        """

    async def take(self, lanes: Sequence[str], *, timeout_s: float) -> list[Delivery]:
        """Wait until one of `lanes` has a job, oldest first within a lane, earlier lanes preferred.

        Returns at most one delivery per lane, nothing after `timeout_s`. Cancellation loses no job:
        a delivery that nobody received comes again after `ack_wait_s`.
        """

    async def cancel(self, job_id: str) -> bool:
        """Remove a job that nobody has taken; False when it is unknown, taken, over, or the bus is away.

        Only the process that put a job can cancel it.
        """

    async def lanes(self) -> dict[str, LaneDepth]:
        """Every lane that exists, with its depth."""

    async def drop_lane(self, lane: str, *, into: str) -> None:
        """Remove a lane whose owner is gone; its waiting jobs go to the lane `into`."""


class Bus(Protocol):
    """Messages by subject (`a.b.c`; `*` matches one word, a last `>` the rest) and work queues.

    Reconnects by itself and subscribes again; `publish` during an outage drops the message.
    """

    async def publish(self, subject: str, payload: bytes) -> None:
        """Send to whoever listens now. Never blocks on a slow subscriber."""

    def subscribe(
        self, subject: str, *, max_pending: int = 65536
    ) -> AbstractAsyncContextManager[AsyncIterator[BusMessage]]:
        """Messages from the moment the context is entered.

        Over `max_pending` unread, the oldest are dropped and counted.
        """

    async def work_queue(self, name: str, *, ack_wait_s: float) -> WorkQueue:
        """Open a queue, made if it is not there. Survives the death of any worker."""

    @property
    def connected(self) -> bool: ...

    async def aclose(self) -> None: ...


# ── requests ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class CallContext:
    """Who calls, beside the payload."""

    endpoint: str
    request_id: str
    deadline: float | None
    """Unix seconds."""
    peer: str
    headers: dict[str, str] = field(default_factory=dict)
    push: Callable[[bytes], bool] = lambda _: False
    """Answers at once, from wherever a payload arises while the handler waits, without waking it.

    Keeps the order of what is yielded. False: refused, as the caller takes no more for now; the handler yields it.
    """


Handler = Callable[[bytes, CallContext], AsyncIterator[bytes]]
"""An async generator.

When the caller cancels or vanishes, it is closed at its current await (GeneratorExit / CancelledError).
"""


class CallStream(Protocol):
    """The answer to a call: payloads, then a clean end, or a `ServingError`."""

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> bytes:
        """The next payload, in order.

        Raises: what the handler raised, rebuilt; `InstanceLost` when the connection broke or the peer
        stopped answering heartbeats; `DeadlineExceeded` when the call's deadline passed.
        """

    async def relay(self, take: Callable[[Sequence[bytes]], int]) -> None:
        """Give payloads to `take` as they arrive, in order, all at once that have come, without waking the reader.

        `take` says how many it took. Returns when it refuses one (that payload is the next that iterating yields) or
        when no more will come (iterating says how it ended). `take` runs where bytes arrive: it must not block. What
        it raises is raised here, and its payloads count as refused. Those taken count as read: the window is bounded.
        """

    async def aclose(self) -> None:
        """Cancel the call if it still runs. Safe to repeat."""


class RequestServer(Protocol):
    """Listens for calls. Serves endpoints registered before or after `start`."""

    address: str
    """What callers dial, known after `start`: host:port or unix:/path."""

    def register(self, endpoint: str, handler: Handler, *, to_the_end: bool = False) -> None:
        """Serve `endpoint` from now on. `to_the_end`: also while draining, since running calls wait for such calls."""

    async def start(self) -> None: ...

    async def drain(self, timeout_s: float) -> None:
        """Accept no new call (they get `Unavailable`), wait for the running ones, at most `timeout_s`.

        Endpoints that are served to the end go on, and are not waited for.
        """

    async def aclose(self) -> None:
        """Close every connection; running handlers are cancelled."""


class RequestClient(Protocol):
    """Calls instances; one connection per address, many streams on it, reconnecting by need."""

    async def call(
        self,
        address: str,
        endpoint: str,
        payload: bytes,
        *,
        request_id: str = "",
        deadline: float | None = None,
        headers: dict[str, str] | None = None,
    ) -> CallStream:
        """Open a stream. Raises `InstanceLost` when the address cannot be reached within the connect time-out.

        The window is bounded: a caller that does not read stops the handler, on this stream only.
        """

    async def probe(self, address: str, *, timeout_s: float) -> str | None:
        """Who listens at `address` (its instance id), None when nothing of ours answers in time."""

    async def aclose(self) -> None: ...
