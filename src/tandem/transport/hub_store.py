"""The embedded store as pure state: keys, leases and watches; time comes in, effects go out."""

from dataclasses import dataclass

from tandem.errors import LeaseLost
from tandem.transport.ports import StoreEvent


@dataclass(frozen=True, slots=True)
class Notify:
    """Effect: tell a watch."""

    watch: int
    event: StoreEvent


@dataclass(frozen=True, slots=True)
class LeaseEnded:
    """Effect: a lease is over, by expiry or by revoke."""

    lease: int


StoreEffect = Notify | LeaseEnded


@dataclass(slots=True)
class _Lease:
    ttl_s: float
    expires_at: float
    keys: set[str]


class StoreState:
    """Everything the store knows. `now` is any clock that only moves forward, in seconds."""

    def __init__(self, first_lease: int = 1) -> None:
        """Leases count up from `first_lease`: picked at random, so that one of before a restart is unknown."""
        self._values: dict[str, bytes] = {}
        self._holder: dict[str, int] = {}
        self._leases: dict[int, _Lease] = {}
        self._watches: dict[int, str] = {}
        self._next_lease = first_lease
        self._next_watch = 1

    def grant(self, ttl_s: float, now: float) -> int:
        """A new lease."""
        lease = self._next_lease
        self._next_lease += 1
        self._leases[lease] = _Lease(ttl_s, now + ttl_s, set())
        return lease

    def renew(self, lease: int, now: float) -> bool:
        """Another time-to-live; False when the lease is unknown."""
        if (found := self._leases.get(lease)) is None:
            return False
        found.expires_at = now + found.ttl_s
        return True

    def revoke(self, lease: int) -> list[StoreEffect]:
        """End a lease and delete its keys. Nothing when it is unknown."""
        if (found := self._leases.pop(lease, None)) is None:
            return []
        effects: list[StoreEffect] = [LeaseEnded(lease)]
        for key in sorted(found.keys):
            effects += self._remove(key)
        return effects

    def put(
        self, key: str, value: bytes, lease: int | None, *, only_if_absent: bool = False
    ) -> tuple[bool, list[StoreEffect]]:
        """Write; (False, []) when `only_if_absent` and it was there. Raises `LeaseLost`."""
        if lease is not None and lease not in self._leases:
            raise LeaseLost(f"the store knows no lease {lease:x}")
        if only_if_absent and key in self._values:
            return False, []
        self._detach(key)
        self._values[key] = value
        if lease is not None:
            self._holder[key] = lease
            self._leases[lease].keys.add(key)
        return True, self._tell(StoreEvent("put", key, value))

    def delete(self, key: str) -> list[StoreEffect]:
        """Remove `key`; no effect at all when it was not there."""
        return self._remove(key) if key in self._values else []

    def has(self, key: str) -> bool:
        """Whether `key` is there."""
        return key in self._values

    def get(self, key: str) -> bytes | None:
        """The value, or None."""
        return self._values.get(key)

    def get_prefix(self, prefix: str) -> dict[str, bytes]:
        """All keys that begin with `prefix`, sorted."""
        return {key: self._values[key] for key in sorted(self._values) if key.startswith(prefix)}

    def watch(self, prefix: str) -> tuple[int, list[StoreEvent]]:
        """A new watch and what it begins with: a `put` per key, then `synced`."""
        watch = self._next_watch
        self._next_watch += 1
        self._watches[watch] = prefix
        return watch, self.snapshot(prefix)

    def snapshot(self, prefix: str) -> list[StoreEvent]:
        """The present state of a prefix as a watch tells it."""
        events = [StoreEvent("put", key, value) for key, value in self.get_prefix(prefix).items()]
        return [*events, StoreEvent("synced")]

    def unwatch(self, watch: int) -> None:
        """Forget a watch. Safe to repeat."""
        self._watches.pop(watch, None)

    def expire(self, now: float) -> list[StoreEffect]:
        """End every lease whose time is over."""
        due = [lease for lease, found in self._leases.items() if found.expires_at <= now]
        return [effect for lease in due for effect in self.revoke(lease)]

    def next_deadline(self) -> float | None:
        """When `expire` will next have something to do."""
        return min((lease.expires_at for lease in self._leases.values()), default=None)

    def _remove(self, key: str) -> list[StoreEffect]:
        self._detach(key)
        del self._values[key]
        return self._tell(StoreEvent("delete", key))

    def _detach(self, key: str) -> None:
        holder = self._holder.pop(key, None)
        if holder is not None and (lease := self._leases.get(holder)):
            lease.keys.discard(key)

    def _tell(self, event: StoreEvent) -> list[StoreEffect]:
        return [Notify(watch, event) for watch, prefix in self._watches.items() if event.key.startswith(prefix)]
