"""What an apply would change, from live objects and what a server's dry run makes of ours. Pure."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tandem.deploy.objects import COMPONENT, MANAGER, Object
from tandem.deploy.secrets import Decision
from tandem.deploy.text import as_yaml

Verb = Literal["create", "change", "keep", "take over"]
_NOISE = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One object: what happens to it, and the lines that differ."""

    item: Object
    verb: Verb
    diff: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return title(self.item)


def title(item: Object) -> str:
    """How an object is called in lines for people."""
    return f"{item['kind']} {item['metadata']['name']}"


def change_of(item: Object, live: Object | None, after: Object) -> Change:
    """Compare one object.

    Args:
        live: as it is; None when it is not there.
        after: as the server says that it would be.
    """
    if live is None:
        return Change(item=item, verb="create", diff=tuple(_lines(None, after, title(item))))
    diff = tuple(_lines(live, after, title(item)))
    if not managed(live):
        return Change(item=item, verb="take over", diff=diff)
    return Change(item=item, verb="change" if diff else "keep", diff=diff)


def managed(live: Object) -> bool:
    """Whether we applied this object before."""
    return any(entry.get("manager") == MANAGER for entry in live["metadata"].get("managedFields") or [])


def settled(item: Object, live: Object | None) -> Object:
    """The wish with the replicas that an autoscaler has chosen: those of a role with an adapter are not ours to set."""
    if item["kind"] != "RoleBasedGroup" or live is None:
        return item
    counts = {role["name"]: role.get("replicas") for role in live["spec"].get("roles", [])}
    roles = []
    for role in item["spec"]["roles"]:
        scaled = role.get("scalingAdapter", {}).get("enable") and counts.get(role["name"]) is not None
        roles.append({**role, "replicas": counts[role["name"]]} if scaled else role)
    return {**item, "spec": {**item["spec"], "roles": roles}}


def immovable(item: Object, live: Object | None) -> str:
    """What a server would take and a running service would not survive; empty when there is nothing of the kind."""
    if item["kind"] != "StatefulSet" or live is None or not managed(live):
        return ""
    before, after = live["spec"].get("replicas"), item["spec"].get("replicas")
    if before != after and item["metadata"].get("labels", {}).get(COMPONENT) == "etcd":
        return (
            f"planes.etcd.members is {after}, {before} run: members are added and removed one by one, by etcdctl; "
            f"write {before}"
        )
    return ""


def sendable(item: Object) -> Object:
    """The object with every port's protocol written out: older servers cannot merge ports without it."""
    found: Object = _with_protocols(item)
    return found


def _with_protocols(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        is_port = key == "ports" and ("containerPort" in value or "targetPort" in value)
        more = {"protocol": "TCP"} if is_port and "protocol" not in value else {}
        return {name: _with_protocols(inner, name) for name, inner in value.items()} | more
    return [_with_protocols(inner, key) for inner in value] if isinstance(value, list) else value


def summary(changes: Sequence[Change], secrets: Sequence[Decision] = ()) -> list[str]:
    """One line per object, then how many of each."""
    marks = {"create": "+", "change": "~", "keep": " ", "take over": "!"}
    made = [f"+ create    Secret {each.name}, {each.about}" for each in secrets if each.make is not None]
    lines = [
        *made,
        *(f"{marks[change.verb]} {change.verb:<9} {change.title}" for change in changes if change.verb != "keep"),
    ]
    counts = {verb: sum(change.verb == verb for change in changes) for verb in marks}
    counts["create"] += len(made)
    told = ", ".join(f"{count} to {verb}" for verb, count in counts.items() if count)
    return [*lines, told or "nothing to do"]


def _lines(before: Object | None, after: Object, name: str) -> Iterator[str]:
    old = as_yaml(bare(before)).splitlines() if before else []
    return difflib.unified_diff(old, as_yaml(bare(after)).splitlines(), f"live/{name}", f"new/{name}", lineterm="")


def bare(item: Object) -> Object:
    """An object without what only the server writes, its keys sorted."""
    metadata = {key: value for key, value in item["metadata"].items() if key not in _NOISE}
    found = {key: value for key, value in item.items() if key != "status"} | {"metadata": metadata}
    if found["kind"] == "Secret":
        found |= {key: "(not shown)" for key in ("data", "stringData") if key in found}
    sorted_: Object = _sorted(found)
    return sorted_


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
