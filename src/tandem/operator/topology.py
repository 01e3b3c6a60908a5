"""Exclusive topology: all pods of a group in one domain (a rack, a NVLink island), and no other group's pods in it."""

from tandem.operator.labels import DISABLE_EXCLUSIVE, EXCLUSIVE_TOPOLOGY, GROUP_KEY
from tandem.operator.types import Group, Raw


def exclusive_topology(group: Group) -> str | None:
    """The topology key that the group wants for itself."""
    return next((group.annotations[key] for key in EXCLUSIVE_TOPOLOGY if group.annotations.get(key)), None)


def place(template: Raw, topology_key: str, group_key: str) -> None:
    """Write the affinity terms into a pod template (in place), unless it opts out or brings such terms itself."""
    annotations = template["metadata"].setdefault("annotations", {})
    if any(annotations.get(key) for key in DISABLE_EXCLUSIVE):
        return
    for key in EXCLUSIVE_TOPOLOGY:
        annotations[key] = topology_key
    affinity = dict(template["spec"].get("affinity") or {})
    if all(_has_term(affinity, kind, topology_key) for kind in ("podAffinity", "podAntiAffinity")):
        return
    together = [{"key": GROUP_KEY, "operator": "In", "values": [group_key]}]
    apart = [
        {"key": GROUP_KEY, "operator": "Exists"},
        {"key": GROUP_KEY, "operator": "NotIn", "values": [group_key]},
    ]
    template["spec"]["affinity"] = affinity
    for kind, expressions in (("podAffinity", together), ("podAntiAffinity", apart)):
        block = dict(affinity.get(kind) or {})
        term = {"labelSelector": {"matchExpressions": expressions}, "topologyKey": topology_key}
        block[_REQUIRED] = [*(block.get(_REQUIRED) or []), term]
        affinity[kind] = block


_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def _has_term(affinity: Raw, kind: str, topology_key: str) -> bool:
    terms = (affinity.get(kind) or {}).get(_REQUIRED) or []
    return any(term.get("topologyKey") == topology_key for term in terms)
