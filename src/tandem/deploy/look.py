"""What a service looks like in its cluster at one moment: plain objects, gathered once, and questions about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tandem.core.paths import at
from tandem.deploy.objects import Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One moment."""

    namespace: str
    name: str
    namespace_there: bool = True
    group_served: bool = True
    """Whether the RoleBasedGroup's CRD is installed."""
    group: Object | None = None
    group_age_s: float | None = None
    """Seconds since it was made."""
    wished: Mapping[str, int] = field(default_factory=dict)
    """Replicas per role of the description, in its order."""
    planes: Sequence[Object] = ()
    """StatefulSets (in the guide's set also a Deployment) of etcd and NATS."""
    expected_planes: Sequence[str] = ()
    """Names of those that should be there."""
    pods: Sequence[Object] = ()
    claims: Mapping[str, Object | None] = field(default_factory=dict)
    """Claims that pods name; None for one that is not there."""
    events: Sequence[Object] = ()
    logs: Mapping[str, str] = field(default_factory=dict)
    """End of the log per pod that is not well."""
    nodes: Sequence[Object] | None = None
    """None where they may not be read."""
    datasets: Sequence[Object] = ()


def role_of(pod: Object) -> str:
    """Which role or plane a pod is of, by our label, the operator's, or the guide's."""
    found = pod["metadata"].get("labels") or {}
    for key in (
        "app.kubernetes.io/component",
        "rolebasedgroup.workloads.x-k8s.io/role",
        "rbg.workloads.x-k8s.io/role-name",
        "app",
    ):
        if key in found:
            return str(found[key])
    return "?"


def is_ready(pod: Object) -> bool:
    conditions = at(pod, "status", "conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def group_ready(look: Look) -> bool:
    """The operator says so, of the group's newest generation."""
    generation = at(look.group, "metadata", "generation")
    for each in at(look.group, "status", "conditions") or []:
        if each["type"] == "Ready" and each["status"] == "True":
            return bool(each.get("observedGeneration", generation) == generation)
    return False


def plane_ready(plane: Object) -> bool:
    return int(at(plane, "status", "readyReplicas") or 0) >= int(at(plane, "spec", "replicas") or 1)


def all_ready(look: Look) -> bool:
    """Whether clients can be served, and by as much as was asked for."""
    there = {plane["metadata"]["name"] for plane in look.planes if plane_ready(plane)}
    return group_ready(look) and set(look.expected_planes) <= there
