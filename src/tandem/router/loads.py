"""What is known of each instance's load: its last report, and what we sent there and took back since.

Pure state; the shell passes reports and times in. Predicting our own sends matters: reports come once a
second, and a burst of requests in between would all go to the instance that looked idle.
"""

from dataclasses import dataclass, field

from tandem.core.load import LoadReport
from tandem.router.ports import Candidate


@dataclass(slots=True)
class _Known:
    report: LoadReport | None = None
    heard_at: float = 0.0
    in_flight: int = 0
    """Sequences that we sent there and that are not over."""
    since_report: int = 0
    """Sent minus finished since the last report."""


@dataclass(slots=True)
class LoadView:
    """Loads of a component's instances, as one router sees them."""

    stale_after_s: float = 10.0
    """A report older than this is not used: its instance is judged by what we sent there."""
    _known: dict[str, _Known] = field(default_factory=dict)

    def heard(self, report: LoadReport, now: float) -> None:
        """An instance reported. `now` is our clock, so that hosts' clocks need not agree."""
        known = self._known.setdefault(report.instance_id, _Known())
        known.report, known.heard_at, known.since_report = report, now, 0

    def sent(self, instance_id: str, sequences: int) -> None:
        """We chose an instance."""
        known = self._known.setdefault(instance_id, _Known())
        known.in_flight += sequences
        known.since_report += sequences

    def over(self, instance_id: str, sequences: int) -> None:
        """Sequences that we sent there have ended."""
        known = self._known.get(instance_id)
        if known is not None:
            known.in_flight = max(0, known.in_flight - sequences)
            known.since_report -= sequences

    def keep_only(self, instance_ids: set[str]) -> None:
        """Forget instances that are gone and hold nothing of ours."""
        gone = [i for i, known in self._known.items() if i not in instance_ids and not known.in_flight]
        for instance_id in gone:
            del self._known[instance_id]

    def candidate(self, instance_id: str, now: float) -> Candidate:
        """An instance as a rule sees it."""
        active, waiting, kv_used = self.glance(instance_id, now)
        return Candidate(instance_id=instance_id, active=active, waiting_prefill_tokens=waiting, kv_used=kv_used)

    def glance(self, instance_id: str, now: float) -> tuple[float, int, float]:
        """Its sequences, waiting prompt tokens and share of KV blocks in use."""
        known = self._known.get(instance_id)
        if known is None:
            return 0.0, 0, 0.0
        report = known.report
        if report is None or now - known.heard_at > self.stale_after_s:
            return known.in_flight, 0, 0.0
        # Never less than what we know to be there: a report may be from before our last send.
        active = max(known.in_flight, report.running + report.waiting + known.since_report)
        used = report.kv_blocks_used / report.kv_blocks_total if report.kv_blocks_total else 0.0
        return active, report.waiting_prefill_tokens, used
