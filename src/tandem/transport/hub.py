"""The embedded planes as pure state: a store, a bus and work queues, without sockets, tasks or a clock.

hub_store.py  keys, leases, watches     hub_bus.py  who listens to what     hub_queue.py  jobs in lanes

Each operation takes the time and returns effects (`Notify`, `LeaseEnded`, `Deliver`); `embedded.py` is the
shell that carries them out. So every rule of the planes can be tested with a clock that is a variable.
"""

from tandem.transport.hub_bus import BusState
from tandem.transport.hub_queue import Deliver, QueueState
from tandem.transport.hub_store import StoreEffect, StoreState

Effect = StoreEffect | Deliver


class HubState:
    """All that an embedded host knows; gone with it."""

    def __init__(self, epoch: int = 1) -> None:
        """Leases and jobs count up from `epoch`, which differs from one start of a host to the next."""
        self._epoch = epoch
        self.store = StoreState(epoch)
        self.bus = BusState()
        self.queues: dict[str, QueueState] = {}

    def queue(self, name: str, ack_wait_s: float) -> QueueState:
        """The queue `name`, made if it is not there. The last opener's `ack_wait_s` holds."""
        if (found := self.queues.get(name)) is None:
            found = self.queues[name] = QueueState(ack_wait_s, self._epoch)
        found.ack_wait_s = ack_wait_s
        return found

    def expire(self, now: float) -> list[Effect]:
        """What time alone brings about."""
        effects: list[Effect] = [*self.store.expire(now)]
        for queue in self.queues.values():
            effects += queue.expire(now)
        return effects

    def next_deadline(self) -> float | None:
        """When `expire` will next have something to do."""
        times = [self.store.next_deadline(), *(queue.next_deadline() for queue in self.queues.values())]
        return min((at for at in times if at is not None), default=None)
