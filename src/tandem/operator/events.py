"""What is worth an Event: transitions, once each. Nothing is told again because a reconciliation ran again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tandem.operator import labels
from tandem.operator.adapters import Overridden
from tandem.operator.types import Condition, GroupStatus, Raw


@dataclass(frozen=True, slots=True)
class Note:
    """One Event to be."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def transitions(before: GroupStatus, after: GroupStatus) -> list[Note]:
    """What changed between two statuses, in events."""
    notes: list[Note] = []
    old = {item.type: item for item in before.conditions}
    new = {item.type: item for item in after.conditions}
    if (ready := new.get(labels.READY)) and _differs(old.get(labels.READY), ready):
        if ready.status == "True":
            notes.append(Note("Normal", "Succeed", ready.message))
        elif ready.reason == "InvalidSpec":
            notes.append(Note("Warning", "InvalidSpec", ready.message))
    if (going := new.get(labels.PROGRESSING)) and _differs(old.get(labels.PROGRESSING), going):
        if going.reason == "DependencyNotMet":
            notes.append(Note("Normal", "DependencyNotMet", going.message))
        elif going.reason == "Blocked":
            notes.append(Note("Warning", "FailedReconcileWorkload", going.message))
        elif going.reason == "RollingUpdate":
            notes.append(Note("Normal", "RollingUpdate", going.message))
    restart = new.get(labels.RESTARTING)
    if restart and restart.reason != "NoRestart" and _differs(old.get(labels.RESTARTING), restart):
        notes.append(Note("Warning" if restart.status == "True" else "Normal", restart.reason, restart.message))
    return notes


def _differs(old: Condition | None, new: Condition) -> bool:
    return old is None or (old.status, old.reason) != (new.status, new.reason)


def scaling_notes(overridden: Sequence[Overridden]) -> list[Note]:
    return [
        Note(
            "Normal", item.why, f"role {item.role}: replicas {item.before} -> {item.after}, as its scaling adapter says"
        )
        for item in overridden
    ]


def event(about: Raw, note: Note, *, now: str, suffix: str) -> Raw:
    """The Event object. `suffix` makes its name unique."""
    metadata = about["metadata"]
    namespace = metadata.get("namespace") or "default"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{suffix}", "namespace": namespace},
        "involvedObject": {
            "apiVersion": about.get("apiVersion") or f"{labels.GROUP}/v1alpha1",
            "kind": about["kind"],
            "name": metadata["name"],
            "namespace": namespace,
            "uid": metadata.get("uid"),
        },
        "type": note.type,
        "reason": note.reason,
        "message": note.message[:1000],
        "source": {"component": "tandem-operator"},
        "reportingComponent": "tandem-operator",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
