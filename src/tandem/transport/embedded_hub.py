"""The shell of the embedded planes: a `HubState` with a clock, one timer and mailboxes for its effects."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

from tandem.transport.hub import Effect, HubState
from tandem.transport.hub_queue import Deliver, QueueState
from tandem.transport.hub_store import LeaseEnded, Notify
from tandem.transport.mailbox import Mailbox
from tandem.transport.ports import BusMessage, StoreEvent

_WATCH_PENDING = 65536
"""Unread changes after which a watch is started afresh (as after an outage)."""


class EmbeddedHub:
    """A store, a bus and work queues in this process. Every method is immediate; only readers wait."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.state = HubState(epoch=secrets.randbits(62) | 1)
        self._clock = clock
        self._watches: dict[int, tuple[str, Mailbox[StoreEvent]]] = {}
        self._listeners: dict[int, Mailbox[BusMessage]] = {}
        self._takers: dict[int, tuple[QueueState, asyncio.Future[Deliver]]] = {}
        self._next_taker = 1
        self._timer: asyncio.TimerHandle | None = None
        self._due_at = float("inf")

    def now(self) -> float:
        """The hub's own clock; seconds since whenever."""
        return self._clock()

    def tick(self) -> None:
        """Do what is due by the clock. The timer calls it; so does a test that has moved its clock."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._due_at = None, float("inf")
        self.apply(self.state.expire(self.now()))
        if (due_at := self.state.next_deadline()) is not None:
            self.arm(due_at)

    def arm(self, due_at: float) -> None:
        """Something will be due at `due_at`."""
        if due_at >= self._due_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due_at = due_at
        self._timer = asyncio.get_running_loop().call_later(max(0.001, due_at - self.now()), self.tick)

    def apply(self, effects: Iterable[Effect]) -> None:
        """Carry out what the state asks for."""
        for effect in effects:
            match effect:
                case Notify(watch, event):
                    self._notify(watch, event)
                case Deliver(taker=taker, seq=seq, number=number):
                    queue, given = self._takers[taker]
                    if given.done():  # cancelled, and has not had its turn to say so
                        self.apply(queue.undo(seq, number, self.now()))
                    else:
                        given.set_result(effect)
                case LeaseEnded():
                    pass  # its holder hears of it when it next renews

    @asynccontextmanager
    async def watch(self, prefix: str) -> AsyncIterator[Mailbox[StoreEvent]]:
        """Everything under `prefix`, then every change."""
        number, events = self.state.store.watch(prefix)
        mailbox = Mailbox[StoreEvent](max(_WATCH_PENDING, 2 * len(events)))
        for event in events:
            mailbox.put(event)
        self._watches[number] = prefix, mailbox
        try:
            yield mailbox
        finally:
            self.state.store.unwatch(number)
            del self._watches[number]

    @asynccontextmanager
    async def subscribe(self, subject: str, max_pending: int) -> AsyncIterator[Mailbox[BusMessage]]:
        """Messages on `subject` from now on."""
        number = self.state.bus.subscribe(subject)
        mailbox = self._listeners[number] = Mailbox[BusMessage](max_pending)
        try:
            yield mailbox
        finally:
            self.state.bus.unsubscribe(number)
            del self._listeners[number]

    def publish(self, subject: str, payload: bytes) -> None:
        """Send to whoever listens now."""
        numbers = self.state.bus.listeners(subject)
        if numbers:
            message = BusMessage(subject, payload)
            for number in numbers:
                self._listeners[number].put(message)

    async def take(self, queue: QueueState, lanes: Sequence[str], timeout_s: float) -> Deliver | None:
        """The next job of `lanes`, or None after `timeout_s`. A job given to a cancelled taker goes back."""
        taker = self._next_taker
        self._next_taker += 1
        # The future is there first: the state may answer at once.
        given: asyncio.Future[Deliver] = asyncio.get_running_loop().create_future()
        self._takers[taker] = queue, given
        delivery: Deliver | None = None
        try:
            self.apply(queue.take(taker, lanes, self.now()))
            async with asyncio.timeout(timeout_s):
                delivery = await given
        except TimeoutError:
            delivery = given.result() if given.done() and not given.cancelled() else None
        except asyncio.CancelledError:
            if given.done() and not given.cancelled():
                lost = given.result()
                self.apply(queue.undo(lost.seq, lost.number, self.now()))
            raise
        finally:
            queue.forget_taker(taker)
            del self._takers[taker]
        if delivery is not None:
            self.arm(self.now() + queue.ack_wait_s)
        return delivery

    def close(self) -> None:
        """Stop the timer and end every reader. Safe to repeat."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        for _, mailbox in self._watches.values():
            mailbox.close()
        for listener in self._listeners.values():
            listener.close()

    def _notify(self, watch: int, event: StoreEvent) -> None:
        prefix, mailbox = self._watches[watch]
        if len(mailbox) < mailbox.limit:
            mailbox.put(event)
            return
        mailbox.clear()
        for replayed in [StoreEvent("outage"), *self.state.store.snapshot(prefix)]:
            mailbox.put(replayed)
