"""Which instances of a component may be called: store events and probes in, a picture and probes out. Pure.

    live ──delete──► gone                        live ──report_lost──► lost ──answers, or registers anew──► live
    live ──not replayed after an outage──► forgotten ──registers──► live
                                              │ does not answer, or one time-to-live is over
                                              └──► gone

`report_lost` and probes are about what we see ourselves; events are about what the store says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tandem.core.cards import InstanceCard

PROTOCOL = 2
"""Version of the messages that this build speaks."""

_FIRST_PROBE_S = 0.5
_LONGEST_PROBE_S = 5.0
_FORGOTTEN_PROBE_S = 1.0


@dataclass(frozen=True, slots=True)
class Probe:
    """Effect: after `after_s`, ask whether the instance's address answers, and report it with `on_probe`."""

    instance_id: str
    address: str
    after_s: float


@dataclass(slots=True)
class _Entry:
    card: InstanceCard
    state: Literal["live", "lost", "forgotten"] = "live"
    until: float = 0.0
    """For a forgotten one: when it is gone at the latest."""
    probe_after_s: float = _FIRST_PROBE_S
    probing: bool = False
    replayed: bool = True


class ViewState:
    """The picture of one component."""

    def __init__(self, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._entries: dict[str, _Entry] = {}
        self._replaying = True

    @property
    def current(self) -> bool:
        """Whether the store is there, and this is what it says now."""
        return not self._replaying

    def routable(self) -> tuple[InstanceCard, ...]:
        """Instances that may be called, by id."""
        return tuple(entry.card for _, entry in sorted(self._entries.items()) if entry.state != "lost")

    def confirmed(self) -> tuple[InstanceCard, ...]:
        """Those that the store holds now: none over an outage, and none that it has forgotten."""
        live = [entry.card for entry in self._entries.values() if entry.state == "live"]
        return tuple(live) if self.current else ()

    def get(self, instance_id: str) -> InstanceCard | None:
        """The card of a routable instance."""
        entry = self._entries.get(instance_id)
        return entry.card if entry is not None and entry.state != "lost" else None

    def on_put(self, card: InstanceCard) -> None:
        """The store holds this card: news, or a replay after an outage."""
        entry = self._entries.get(card.instance_id)
        if entry is None or entry.state == "forgotten" or not self._replaying or entry.card != card:
            self._entries[card.instance_id] = _Entry(card)
        else:
            entry.replayed = True  # a replay of what we knew is no sign of life

    def on_delete(self, instance_id: str) -> None:
        """Withdrawn, or its lease lapsed."""
        self._entries.pop(instance_id, None)

    def on_gone_elsewhere(self, instance_id: str) -> None:
        """Another store says so: its fresh word counts for more than an old one of ours."""
        entry = self._entries.get(instance_id)
        if entry is not None and (not self.current or entry.state != "live"):
            del self._entries[instance_id]

    def on_outage(self) -> None:
        """The store is away: keep the last picture."""
        self._replaying = True
        for entry in self._entries.values():
            entry.replayed = False

    def on_synced(self, now: float) -> Sequence[Probe]:
        """The replay is complete: what it left out is forgotten, and stays only while it answers."""
        self._replaying = False
        probes: list[Probe] = []
        for instance_id, entry in list(self._entries.items()):
            if entry.replayed or entry.state == "forgotten":
                continue
            if entry.state == "lost":
                del self._entries[instance_id]
                continue
            entry.state, entry.until = "forgotten", now + self._ttl_s
            probes += self._probe(entry, 0.0)
        return probes

    def report_lost(self, instance_id: str) -> Sequence[Probe]:
        """A call found it dead."""
        entry = self._entries.get(instance_id)
        if entry is None or entry.state == "lost":
            return []
        if entry.state == "forgotten":
            del self._entries[instance_id]
            return []
        entry.state, entry.probe_after_s = "lost", _FIRST_PROBE_S
        return self._probe(entry, entry.probe_after_s)

    def on_probe(self, probe: Probe, *, answers: bool, now: float) -> Sequence[Probe]:
        """What a probe has found. One of a card that was replaced meanwhile says nothing."""
        entry = self._entries.get(probe.instance_id)
        if entry is None or not entry.probing or entry.card.address != probe.address:
            return []
        entry.probing = False
        if entry.state == "lost":
            if answers:
                entry.state = "live"
                return []
            entry.probe_after_s = min(2 * entry.probe_after_s, _LONGEST_PROBE_S)
            return self._probe(entry, entry.probe_after_s)
        if entry.state == "forgotten":
            left_s = entry.until - now
            if not answers or left_s <= 0:
                del self._entries[probe.instance_id]
                return []
            return self._probe(entry, min(_FORGOTTEN_PROBE_S, left_s))
        return []

    def _probe(self, entry: _Entry, after_s: float) -> list[Probe]:
        if entry.probing:
            return []
        entry.probing = True
        return [Probe(entry.card.instance_id, entry.card.address, after_s)]


def joined(states: Sequence[ViewState]) -> tuple[InstanceCard, ...]:
    """One picture of several stores' by id. The first one's counts always; the others fill in what it lacks.

    Over an outage a store's picture is an old one. So while the first is current, the others add only what they hold
    now; while it is not, all that they know, and their cards are the newer ones.
    """
    first, *others = states
    if not others:
        return first.routable()
    if first.current:
        order = [*(other.confirmed() for other in others), first.routable()]
    else:
        order = [first.routable(), *(other.routable() for other in others)]
    found = {card.instance_id: card for cards in order for card in cards}
    return tuple(card for _, card in sorted(found.items()))
