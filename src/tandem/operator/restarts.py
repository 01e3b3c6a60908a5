"""`RecreateRBGOnPodRestart`: when one pod of such a role fails, the whole group starts anew, in dependency order.

The condition `RestartInProgress` is the memory: workloads that are older than its last change are deleted, the
dependency gate makes them again one by one, and it turns False when all are ready. While it is True nothing triggers
again, and a group that was never ready is left to its pods' own restarts. So a crash of the operator in the middle
changes nothing, and two failures in one restart are one restart.
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
    ready = condition(group, labels.READY)
    if not roles or in_progress(group) or ready is None or not _was_ready(group):
        return None
    for pod in pods:
        if at(pod, "metadata", "labels", labels.ROLE) not in roles or at(pod, "metadata", "deletionTimestamp"):
            continue
        if at(pod, "status", "phase") == "Failed":
            return f"pod {pod['metadata']['name']} failed"
        for container in at(pod, "status", "containerStatuses", default=[]):
            if container.get("restartCount", 0) > 0:
                return f"container {container.get('name')} of pod {pod['metadata']['name']} restarted"
    return None


def _was_ready(group: Group) -> bool:
    """Ready now or once: RestartInProgress False is written when the group is ready for the first time."""
    return condition(group, labels.RESTARTING) is not None


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
