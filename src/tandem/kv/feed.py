"""A router's side: whether what one worker tells is complete, and what to do when it is not.

    unknown ──ask──► asked ──state──► warm ──update in order──► warm
                       ▲                └──number missing──► asked (updates wait until the state is there)

Pure: the shell asks, and passes in what comes.
"""

from dataclasses import dataclass, field
from typing import Literal

from tandem.core.kv_updates import KvUpdate

Verdict = Literal["applied", "beat", "waiting", "gap", "repeated", "overflow"]

_MOST_WAITING = 4096
"""Updates kept while a state is on its way; with more, it is asked for again."""


@dataclass(slots=True)
class Feed:
    """What is known of one worker's numbering."""

    next_seq: int | None = None
    """The number to come; None until its state is known."""
    _waiting: dict[int, KvUpdate] = field(default_factory=dict)

    @property
    def warm(self) -> bool:
        """Whether the index holds what the worker holds."""
        return self.next_seq is not None

    def heard(self, update: KvUpdate) -> Verdict:
        """An update came. On `applied` carry it out, and no other; after `gap` and `overflow`, ask for the state."""
        if self.next_seq is None:
            return self._wait(update)
        if not update.changes:
            if update.seq < self.next_seq:
                return "beat"
            self.next_seq = None
            return "gap"
        if update.seq < self.next_seq:
            return "repeated"
        if update.seq > self.next_seq:
            self.next_seq = None
            self._wait(update)
            return "gap"
        self.next_seq += 1
        return "applied"

    def state_known(self, seq: int) -> tuple[list[KvUpdate], bool]:
        """The worker's state after update `seq` was applied.

        Returns what waited and follows it, and whether that is all. If not, one is missing; what comes after it is
        dropped, and the next update or sign of life shows the gap again: no answer to asking at once would be newer.
        """
        waiting, self._waiting = self._waiting, {}
        following: list[KvUpdate] = []
        expected = seq + 1
        for number in sorted(waiting):
            if number < expected:
                continue
            if number > expected:
                break
            following.append(waiting[number])
            expected += 1
        self.next_seq = expected
        return following, not waiting or expected > max(waiting)

    def _wait(self, update: KvUpdate) -> Verdict:
        if not update.changes:
            return "beat"
        if update.seq in self._waiting:
            return "repeated"
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.clear()
            return "overflow"
        self._waiting[update.seq] = update
        return "waiting"
