"""A group's history: one ControllerRevision for each content of its spec, replicas left out."""

from collections.abc import Sequence
from typing import Any

import msgspec

from tandem.core.paths import at
from tandem.operator import labels
from tandem.operator.compare import digest
from tandem.operator.naming import revision_name
from tandem.operator.types import Group, GroupSpec, Raw

KEPT = 5


def content(spec: GroupSpec) -> Raw:
    """What a revision remembers: roles and role templates without replicas."""
    built = msgspec.to_builtins(spec)
    roles = [{key: value for key, value in role.items() if key != "replicas"} for role in built["roles"]]
    found: Raw = {"roles": roles}
    if built.get("roleTemplates"):
        found["roleTemplates"] = built["roleTemplates"]
    return found


def revisions_of(seen: Sequence[Raw]) -> list[Raw]:
    """Oldest first."""
    return sorted(seen, key=lambda item: int(item.get("revision") or 0))


def hash_of(revision: Raw) -> str | None:
    """The content's hash, whichever family of labels it stands in."""
    found = at(revision, "metadata", "labels", default={})
    digest_: str | None = found.get(labels.CONTROLLER_REVISION_HASH) or found.get(labels.NEW_REVISION)
    return digest_


def next_revision(group: Group, seen: Sequence[Raw], metadata: Raw) -> Raw | None:
    """The revision to write, or None when the newest one already holds the group's content.

    Going back to an old content makes a new revision, so that the newest is always what runs.
    """
    data = content(group.spec)
    wanted, past = digest(data), revisions_of(seen)
    if past and same_content(past[-1], data):
        return None
    number = int(past[-1]["revision"]) + 1 if past else 1
    more = {labels.CONTROLLER_REVISION_HASH: wanted, labels.NEW_REVISION: wanted}
    head = {
        **metadata,
        "name": revision_name(group.name, wanted, number),
        "labels": {**metadata["labels"], **more},
    }
    body = {"spec": {"$patch": "replace", **data}}
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": head,
        "data": body,
        "revision": number,
    }


def same_content(revision: Raw, data: Raw) -> bool:
    """Compares what is in a revision, since another operator's hash of it is another number."""
    return digest(remembered(revision)) == digest(data)


def remembered(revision: Raw) -> Raw:
    """The content of a revision, read through our own types so that defaults do not count."""
    spec: dict[str, Any] = {k: v for k, v in at(revision, "data", "spec", default={}).items() if k != "$patch"}
    try:
        return content(msgspec.convert(spec, GroupSpec))
    except msgspec.ValidationError:
        return spec


def surplus(seen: Sequence[Raw], keep: int = KEPT) -> list[Raw]:
    """Revisions beyond the limit, oldest first."""
    past = revisions_of(seen)
    return past[: max(len(past) - keep, 0)]


def rolled_back(current: Raw, revision: Raw) -> Raw:
    """The spec of `revision` with the replicas that run now; a role that is gone comes back with one.

    `current` and the result are specs as the API spells them; fields that revisions do not hold stay.
    """
    replicas = {role["name"]: role.get("replicas", 1) for role in current.get("roles", [])}
    past = at(revision, "data", "spec", default={})
    roles = [{**role, "replicas": replicas.get(role["name"], 1)} for role in past.get("roles", [])]
    rest = {key: value for key, value in current.items() if key not in ("roles", "roleTemplates")}
    templates = {"roleTemplates": past["roleTemplates"]} if past.get("roleTemplates") else {}
    return {**rest, "roles": roles, **templates}
