"""A RoleBasedGroupSet: equal groups, numbered, and a template change that reaches them at a pace."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from tandem.core.paths import at
from tandem.operator import labels
from tandem.operator.amounts import resolve
from tandem.operator.compare import digest, stamped
from tandem.operator.faults import Fault
from tandem.operator.kinds import SetSpec, SetStatus
from tandem.operator.types import Condition, Raw
from tandem.operator.validation import faults_of

_HANDED_DOWN = (
    *labels.EXCLUSIVE_TOPOLOGY,
    labels.GANG,
    labels.GANG_TIMEOUT,
    labels.GANG_VOLCANO_PRIORITY,
    labels.GANG_VOLCANO_QUEUE,
)
"""Annotations of a set that mean something on its groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPlan:
    """What a reconciliation of a set does."""

    apply: list[Raw] = field(default_factory=list)
    delete: list[Raw] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def plan_set(item: Raw, spec: SetSpec, children: Sequence[Raw]) -> SetPlan:
    """Groups to write and to delete.

    Args:
        item: the set as it came; its template is handed on as it is written, with fields that we do not know.
        children: the groups that this set controls.
    """
    metadata = item["metadata"]
    typed = spec.group_template.spec if spec.group_template else spec.template
    if typed is None:
        return SetPlan(faults=[Fault("spec.template", "required: the spec of the groups to make")])
    if faults := faults_of(f"{metadata['name']}-0", typed):
        return SetPlan(faults=faults)
    present = {index_of(child, metadata["name"]): child for child in children}
    surplus = [child for index, child in present.items() if index is None or index >= spec.replicas]
    wanted = template_hash(item)
    allowed = _may_change(spec, [child for child in present.values() if child not in surplus])
    wishes: list[Raw] = []
    for index in reversed(range(spec.replicas)):
        child = present.get(index)
        if child is not None and not _is_current(child, wanted) and is_ready(child):
            if allowed <= 0:
                continue
            allowed -= 1
        wishes.append(_child(item, index, wanted, child))
    return SetPlan(apply=wishes, delete=surplus)


def set_status(item: Raw, spec: SetSpec, children: Sequence[Raw], faults: Sequence[Fault], now: str) -> SetStatus:
    """Counts, and Ready in upstream's words."""
    metadata = item["metadata"]
    wanted = template_hash(item)
    ready = sum(map(is_ready, children))
    updated = sum(_is_current(child, wanted) for child in children)
    holds = ready >= spec.replicas and updated >= spec.replicas and not faults
    if faults:
        reason, message = "InvalidSpec", "; ".join(map(str, faults))
    elif holds:
        reason, message = "AllReplicasReady", "All replicas are ready"
    else:
        reason, message = "ReplicasNotReady", f"Waiting for replicas to be ready ({ready}/{spec.replicas})"
        if updated < spec.replicas:
            message += f", {updated}/{spec.replicas} updated"
    old: Raw = next((c for c in at(item, "status", "conditions", default=[]) if c.get("type") == labels.READY), {})
    since = old.get("lastTransitionTime") if old.get("status") == str(holds) else now
    condition = Condition(
        labels.READY, "True" if holds else "False", reason, message, since or now, metadata.get("generation", 0)
    )
    return SetStatus(
        observed_generation=metadata.get("generation", 0),
        replicas=len(children),
        ready_replicas=ready,
        updated_replicas=updated,
        selector=f"{labels.SET_NAME}={metadata['name']}",
        conditions=[condition],
    )


def template_hash(item: Raw) -> str:
    """Stands for everything that a group gets from its set."""
    spec = item.get("spec") or {}
    annotations = at(item, "metadata", "annotations", default={})
    return digest([spec.get("template"), spec.get("groupTemplate"), _handed_down(annotations)])


def index_of(child: Raw, name: str) -> int | None:
    """The number of a set's group, from its label, else its name."""
    found = at(child, "metadata", "labels", default={})
    text = found.get(labels.SET_INDEX) or found.get(labels.NEW_SET_INDEX) or child["metadata"]["name"][len(name) + 1 :]
    return int(text) if text.isdigit() else None


def is_ready(child: Raw) -> bool:
    """Ready for the generation that it has, not for an earlier one."""
    generation = at(child, "metadata", "generation", default=0)
    if at(child, "status", "observedGeneration", default=0) < generation:
        return False
    conditions = at(child, "status", "conditions", default=[])
    return any(item.get("type") == labels.READY and item.get("status") == "True" for item in conditions)


def _is_current(child: Raw, wanted: str) -> bool:
    return bool(at(child, "metadata", "annotations", labels.TEMPLATE_HASH) == wanted)


def _may_change(spec: SetSpec, children: Sequence[Raw]) -> int:
    """How many ready groups may be changed now, so that no more than `maxUnavailable` are not ready."""
    wish = spec.rollout_strategy.max_unavailable if spec.rollout_strategy else 1
    most = max(resolve(wish, spec.replicas, up=False), 1)
    return most - sum(not is_ready(child) for child in children)


def _handed_down(annotations: Mapping[str, str]) -> dict[str, str]:
    return {key: annotations[key] for key in _HANDED_DOWN if key in annotations}


def _child(item: Raw, index: int, wanted: str, child: Raw | None) -> Raw:
    metadata, spec = item["metadata"], item["spec"]
    outer = spec.get("groupTemplate") or {}
    body: Raw = outer.get("spec") or spec.get("template") or {}
    name = metadata["name"]
    annotations = _handed_down(at(item, "metadata", "annotations", default={}))
    owner = {
        "apiVersion": f"{labels.GROUP}/v1alpha1",
        "kind": "RoleBasedGroupSet",
        "name": name,
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    marks = {labels.SET_NAME: name, labels.SET_INDEX: str(index)}
    marks |= {labels.NEW_SET_NAME: name, labels.NEW_SET_INDEX: str(index)}
    return stamped(
        {
            "apiVersion": f"{labels.GROUP}/v1alpha1",
            "kind": "RoleBasedGroup",
            "metadata": {
                "name": f"{name}-{index}",
                "namespace": metadata["namespace"],
                "labels": {**(outer.get("labels") or {}), **marks},
                "annotations": {**(outer.get("annotations") or {}), **annotations, labels.TEMPLATE_HASH: wanted},
                "ownerReferences": [owner],
            },
            "spec": {**body, "roles": [_role(role, child) for role in body.get("roles") or []]},
        }
    )


def _role(role: Raw, child: Raw | None) -> Raw:
    """A role of a new group as the template has it; where an adapter scales it, with the number that runs."""
    if child is None or not at(role, "scalingAdapter", "enable"):
        return role
    present: Raw = next((r for r in at(child, "spec", "roles", default=[]) if r.get("name") == role.get("name")), {})
    return {**role, "replicas": present.get("replicas", role.get("replicas", 1))}


def parse_set(item: Raw) -> SetSpec:
    """A set's spec.

    Raises:
        msgspec.ValidationError: it is not of the schema's shape.
    """
    return msgspec.convert(item.get("spec") or {}, SetSpec)
