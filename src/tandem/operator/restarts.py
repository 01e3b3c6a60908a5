"""`RecreateRBGOnPodRestart`: when one pod of such a role fails, the whole group starts anew, in dependency order.

The condition `RestartInProgress` is the memory: workloads that are older than its last change are deleted, the
dependency gate makes them again one by one, and it turns False when all are ready. While it is True nothing triggers
again, and a group that is not ready yet is left to its pods' own restarts: only what fails after the condition's last
change counts. So a crash of the operator in the middle changes nothing, and two failures in one restart are one.
"""

from collections.abc import Sequence
from datetime import datetime

from tandem.core.paths import at
from tandem.operator import labels
from tandem.operator.types import Condition, Group, Raw

Restart = tuple[bool, str]
"""(in progress, why)"""


def condition(group: Group, kind: str) -> Condition | None:
    """A condition as the group's status has it."""
    return next((item for item in group.status.conditions if item.type == kind), None)


def in_progress(group: Group) -> bool:
    found = condition(group, labels.RESTARTING)
    return found is not None and found.status == "True"


def trigger(group: Group, pods: Sequence[Raw]) -> str | None:
    """Why the group must start anew now: a pod's name and what happened to it; None when it need not."""
    roles = {role.name for role in group.spec.roles if role.restart_policy == "RecreateRBGOnPodRestart"}
    watched = condition(group, labels.RESTARTING)  # written when the group is ready for the first time
    if not roles or watched is None or watched.status == "True" or condition(group, labels.READY) is None:
        return None
    for pod in pods:
        if at(pod, "metadata", "labels", labels.ROLE) not in roles or at(pod, "metadata", "deletionTimestamp"):
            continue
        if at(pod, "status", "phase") == "Failed":
            return f"pod {pod['metadata']['name']} failed"
        for container in at(pod, "status", "containerStatuses", default=[]):
            if container.get("restartCount", 0) > 0 and _began_after(container, watched.last_transition_time):
                return f"container {container.get('name')} of pod {pod['metadata']['name']} restarted"
    return None


def _began_after(container: Raw, since: str) -> bool:
    """Whether a container's last restart came after a time. One on the way to ready is its own affair.

    Counts alone would restart a group for ever whose pods fail once before what they need is there.
    """
    state, past = container.get("state"), container.get("lastState")
    ended = at(state, "terminated", "finishedAt") or at(past, "terminated", "finishedAt")
    last = at(state, "running", "startedAt") or ended
    return not last or not since or parse_time(last) > parse_time(since)


def to_delete(group: Group, workloads: Sequence[Raw]) -> list[Raw]:
    """Workloads from before the restart began."""
    found = condition(group, labels.RESTARTING)
    if found is None or found.status != "True":
        return []
    began = parse_time(found.last_transition_time)
    return [
        item
        for item in workloads
        if not at(item, "metadata", "deletionTimestamp")
        and parse_time(at(item, "metadata", "creationTimestamp", default="")) < began
    ]


def parse_time(text: str) -> datetime:
    """A Kubernetes time stamp.

    Raises:
        ValueError: the text is no time.
    """
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
