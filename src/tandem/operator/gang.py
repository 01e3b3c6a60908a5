"""Gang scheduling: one PodGroup for the whole group, and the marks on its pods that tie them to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tandem.operator.labels import (
    GANG,
    GANG_TIMEOUT,
    GANG_VOLCANO_PRIORITY,
    GANG_VOLCANO_QUEUE,
    KUBE_GANG,
    VOLCANO_GANG,
    VOLCANO_TASK,
)
from tandem.operator.roles import RolePlan
from tandem.operator.types import Group, Raw

Scheduler = Literal["scheduler-plugins", "volcano"]
POD_GROUP_API: dict[Scheduler, str] = {
    "scheduler-plugins": "scheduling.x-k8s.io/v1alpha1",
    "volcano": "scheduling.volcano.sh/v1beta1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gang:
    """How the group wants to be scheduled together."""

    scheduler: Scheduler
    timeout_s: int = 60
    priority_class: str | None = None
    queue: str | None = None


def gang_of(group: Group) -> Gang | None:
    """From `podGroupPolicy`, or from v1alpha2's annotations; Volcano is chosen there by naming its queue or class."""
    if policy := group.spec.pod_group_policy:
        if volcano := policy.volcano_scheduling:
            return Gang(scheduler="volcano", priority_class=volcano.priority_class_name, queue=volcano.queue)
        if kube := policy.kube_scheduling:
            return Gang(scheduler="scheduler-plugins", timeout_s=kube.schedule_timeout_seconds)
    if group.annotations.get(GANG) != "true":
        return None
    priority, queue = (group.annotations.get(key) for key in (GANG_VOLCANO_PRIORITY, GANG_VOLCANO_QUEUE))
    if priority or queue:
        return Gang(scheduler="volcano", priority_class=priority, queue=queue)
    timeout = group.annotations.get(GANG_TIMEOUT, "")
    return Gang(scheduler="scheduler-plugins", timeout_s=int(timeout) if timeout.isdigit() else 60)


def mark(template: Raw, gang: Gang, group: str, role: str) -> None:
    """Tie a pod template (in place) to the group's PodGroup."""
    metadata = template["metadata"]
    if gang.scheduler == "scheduler-plugins":
        metadata.setdefault("labels", {})[KUBE_GANG] = group
    else:
        metadata.setdefault("annotations", {}).update({VOLCANO_GANG: group, VOLCANO_TASK: role})


def pod_group(group: Group, gang: Gang, plans: Sequence[RolePlan], metadata: Raw, replicas: Mapping[str, int]) -> Raw:
    """The PodGroup. It waits for all pods, or for a role's minimum where one is named.

    Args:
        replicas: role → what is asked for now. No pod of a gang starts before all of them are there, so one that waited
            for a role which itself waits for the gang's first pods would wait for ever.
    """
    policy = group.spec.pod_group_policy
    minimums = policy.role_minimums if policy else {}
    pods = {plan.role.name: plan.size * _least(plan.role.name, replicas, minimums) for plan in plans}
    spec: Raw = {"minMember": max(1, sum(pods.values()))}  # scheduler-plugins takes no 0
    if gang.scheduler == "scheduler-plugins":
        spec["scheduleTimeoutSeconds"] = gang.timeout_s
    else:
        more = {"priorityClassName": gang.priority_class, "queue": gang.queue}
        spec |= {key: value for key, value in more.items() if value}
        if minimums:
            spec["minTaskMember"] = pods
    return {"apiVersion": POD_GROUP_API[gang.scheduler], "kind": "PodGroup", "metadata": metadata, "spec": spec}


def _least(role: str, replicas: Mapping[str, int], minimums: Mapping[str, int]) -> int:
    return min(minimums.get(role, replicas[role]), replicas[role])
