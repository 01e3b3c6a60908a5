"""What others wrote into a child of ours, so that it can be taken out again.

Server-side apply takes away only what its own manager once wrote: a container that somebody adds by hand would stay,
and one that the upstream operator made would stay beside the one that replaces it. So their part of what we write is
first made ours, by moving it in `managedFields`; the next apply then leaves what is wished and nothing else.
"""

from typing import Final

from tandem.core.paths import at
from tandem.operator.labels import FIELD_MANAGER
from tandem.operator.types import Raw

RESTORED: Final = ("StatefulSet", "Deployment", "LeaderWorkerSet", "Service")
"""Kinds whose parts are ours as a whole. PodGroups are not: their schedulers write into them too."""


def parts_of_others(item: Raw) -> list[str]:
    """Parts of an object's spec, such as `template`, that another manager has written into."""
    entries = [_fields(entry) for entry in at(item, "metadata", "managedFields", default=[]) if _is_anothers(entry)]
    return sorted({key[2:] for fields in entries for key in fields})


def written_parts(wish: Raw) -> set[str]:
    """Parts of the spec that are ours as a whole once we apply `wish`."""
    found = set(wish.get("spec") or {})
    if at(wish, "spec", "leaderWorkerTemplate", "leaderTemplate") is None:
        found.discard("leaderWorkerTemplate")  # the templates in it are kept as somebody else made them
    return found


def takeover(wish: Raw, found: Raw) -> list[Raw]:
    """Steps of a JSON patch by which others' fields become ours, after `wish` was applied; none when there are none."""
    metadata = found["metadata"]
    parts = written_parts(wish)
    kept: list[Raw] = []
    taken: Raw = {}
    ours: Raw | None = None
    for entry in metadata.get("managedFields") or []:
        if entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply" and not entry.get("subresource"):
            ours = entry
        elif _is_anothers(entry) and entry.get("apiVersion") == wish["apiVersion"]:
            theirs = {key: value for key, value in _fields(entry).items() if key[2:] in parts}
            taken = _merged(taken, theirs)
            left = _without(entry.get("fieldsV1") or {}, {"f:spec": theirs})
            kept += [{**entry, "fieldsV1": left}] if left else []
        else:
            kept.append(entry)
    if ours is None or not taken:
        return []
    fields = _merged(ours["fieldsV1"], {"f:spec": taken})
    return [
        {"op": "replace", "path": "/metadata/managedFields", "value": [{**ours, "fieldsV1": fields}, *kept]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
    ]


def _is_anothers(entry: Raw) -> bool:
    return entry.get("manager") != FIELD_MANAGER and not entry.get("subresource")


def _fields(entry: Raw) -> Raw:
    """Those of the spec, without annotations of the pod template: `kubectl rollout restart` works by one."""
    parts = {key: value for key, value in at(entry, "fieldsV1", "f:spec", default={}).items() if key.startswith("f:")}
    annotations = at(parts, "f:template", "f:metadata", "f:annotations")
    if annotations is None:
        return parts
    return _without(parts, {"f:template": {"f:metadata": {"f:annotations": annotations}}})


def _merged(one: Raw, other: Raw) -> Raw:
    return {**one, **{key: _merged(one.get(key) or {}, value) for key, value in other.items()}}


def _without(fields: Raw, gone: Raw) -> Raw:
    """`fields` less the leaves of `gone`; what is empty then goes too."""
    left: Raw = {}
    for key, value in fields.items():
        if key not in gone:
            left[key] = value
        elif rest := _without(value, gone[key]):
            left[key] = rest
    return left if set(left) - {"."} else {}
