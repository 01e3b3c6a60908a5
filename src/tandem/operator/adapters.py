"""Scaling adapters: the handle by which `kubectl scale` and HPA change the replicas of one role.

While a role's adapter is enabled and bound, the adapter owns the number: a Helm upgrade that writes the old one back
does not undo what the autoscaler did.
"""

from dataclasses import dataclass
from typing import Literal

import msgspec

from tandem.core.paths import at
from tandem.operator.labels import GROUP
from tandem.operator.naming import workload_name
from tandem.operator.pods import selector_labels
from tandem.operator.seen import Seen, ownership
from tandem.operator.types import Group, Raw, Role

KIND = "RoleBasedGroupScalingAdapter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overridden:
    """A role whose replicas the adapter decides; the group's spec is to be made to agree."""

    index: int
    role: str
    before: int
    after: int
    why: Literal["SuccessfulScale", "ReplicasOverriddenByAdapter"]


def enabled(role: Role) -> bool:
    return role.scaling_adapter is not None and role.scaling_adapter.enable


def with_adapters(group: Group, seen: Seen) -> tuple[Group, list[Overridden]]:
    """The group with the replicas that its adapters ask for, and where that differs from what it says."""
    overridden: list[Overridden] = []
    roles: list[Role] = []
    for index, role in enumerate(group.spec.roles):
        adapter = seen.get(KIND, workload_name(group.name, role.name)) if enabled(role) else None
        asked = at(adapter, "spec", "replicas")
        if adapter is None or ownership(adapter, group) != "ours" or asked is None or asked == role.replicas:
            roles.append(role)
            continue
        scaled = asked != at(adapter, "status", "replicas", default=asked)
        why: Literal["SuccessfulScale", "ReplicasOverriddenByAdapter"] = (
            "SuccessfulScale" if scaled else "ReplicasOverriddenByAdapter"
        )
        overridden.append(Overridden(index=index, role=role.name, before=role.replicas, after=asked, why=why))
        roles.append(msgspec.structs.replace(role, replicas=asked))
    if not overridden:
        return group, []
    return msgspec.structs.replace(group, spec=msgspec.structs.replace(group.spec, roles=roles)), overridden


def adapter(group: Group, role: Role, metadata: Raw) -> Raw:
    """The adapter of a role, without replicas: an applied field would be taken away from who scales."""
    spec: Raw = {"scaleTargetRef": {"name": group.name, "role": role.name}}
    switch = role.scaling_adapter
    head = {**metadata, "labels": {**metadata["labels"], **(switch.labels if switch else {})}}
    return {"apiVersion": f"{GROUP}/v1alpha1", "kind": KIND, "metadata": head, "spec": spec}


def adapter_status(group: Group, role: Role, found: Raw, workload: Raw | None, now: str) -> Raw:
    """What an adapter's status should say. `selector` lets an HPA find the pods to measure."""
    selector = at(workload, "spec", "selector", "matchLabels", default=None)
    if workload is not None and workload.get("kind") == "LeaderWorkerSet":
        selector = {**selector_labels(group, role.name), "leaderworkerset.sigs.k8s.io/worker-index": "0"}
    pairs = selector or selector_labels(group, role.name)
    old = at(found, "status", default={})
    status = {
        "phase": "Bound",
        "replicas": role.replicas,
        "readyReplicas": at(workload, "status", "readyReplicas", default=0),
        "selector": ",".join(f"{key}={value}" for key, value in sorted(pairs.items())),
    }
    if old.get("lastScaleTime"):
        status["lastScaleTime"] = old["lastScaleTime"]
    if "replicas" in old and old["replicas"] != role.replicas:
        status["lastScaleTime"] = now
    return status
