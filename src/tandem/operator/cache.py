"""What was last heard of every child, by group. Filled by reflectors and by the answers to our own writes."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from tandem.core.paths import at
from tandem.operator import labels
from tandem.operator.managers import RESTORED, parts_of_others
from tandem.operator.seen import Key
from tandem.operator.types import Raw

GroupKey = tuple[str, str]
"""(namespace, name) of a group."""

_DROPPED: Final = ("managedFields", "selfLink")


def group_of(item: Raw) -> GroupKey | None:
    """The group whose label an object carries."""
    found = at(item, "metadata", "labels", default={})
    name = found.get(labels.NAME) or found.get(labels.NEW_NAME)
    return (item["metadata"].get("namespace", ""), name) if name else None


class Cache:
    """Objects of one kind or many, found by group. Older versions of an object never replace newer ones."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str, str], Raw] = {}
        self._groups: dict[GroupKey, dict[Key, Raw]] = defaultdict(dict)

    def __len__(self) -> int:
        return len(self._items)

    def put(self, kind: str, item: Raw) -> None:
        """Remember an object, without what we never read."""
        metadata = {key: value for key, value in item["metadata"].items() if key not in _DROPPED}
        fresh = {**_slim(kind, item), "kind": kind, "metadata": metadata}
        if kind in RESTORED and (others := parts_of_others(item)):
            fresh["partsOfOthers"] = others
        where = (kind, metadata.get("namespace", ""), metadata["name"])
        old = self._items.get(where)
        if old is not None and _version(old) > _version(fresh) and old["metadata"].get("uid") == metadata.get("uid"):
            return
        if old is not None:
            self._forget(kind, old)
        self._items[where] = fresh
        if key := group_of(fresh):
            self._groups[key][(kind, metadata["name"])] = fresh

    def drop(self, kind: str, namespace: str, name: str, *, uid: str | None = None) -> Raw | None:
        """Forget an object; returns what was known. With `uid`, another one of the same name stays."""
        where = (kind, namespace, name)
        old = self._items.get(where)
        if old is None or uid not in (None, old["metadata"].get("uid")):
            return None
        del self._items[where]
        self._forget(kind, old)
        return old

    def replace(self, kind: str, items: Iterable[Raw], api_version: str | None = None) -> list[Raw]:
        """A full list: what it lacks is gone. Returns what went."""
        fresh = list(items)
        names = {(item["metadata"].get("namespace", ""), item["metadata"]["name"]) for item in fresh}
        lost = [
            (namespace, name)
            for (known, namespace, name), item in self._items.items()
            if known == kind and (namespace, name) not in names and api_version in (None, item.get("apiVersion"))
        ]
        for item in fresh:
            self.put(kind, item)
        return [old for namespace, name in lost if (old := self.drop(kind, namespace, name))]

    def get(self, kind: str, namespace: str, name: str) -> Raw | None:
        return self._items.get((kind, namespace, name))

    def of_group(self, key: GroupKey) -> dict[Key, Raw]:
        """Everything that carries a group's label, pods included."""
        return dict(self._groups.get(key, {}))

    def of_kind(self, kind: str) -> Iterator[Raw]:
        return (item for (known, _, _), item in self._items.items() if known == kind)

    def _forget(self, kind: str, old: Raw) -> None:
        key = group_of(old)
        if key is not None and key in self._groups:
            self._groups[key].pop((kind, old["metadata"]["name"]), None)
            if not self._groups[key]:
                del self._groups[key]


def _slim(kind: str, item: Raw) -> Raw:
    if kind != "Pod":
        return item
    status = {key: item.get("status", {}).get(key) for key in ("phase", "conditions", "containerStatuses")}
    return {"spec": {"nodeName": at(item, "spec", "nodeName")}, "status": status}


def _version(item: Raw) -> int:
    text = str(at(item, "metadata", "resourceVersion", default="0"))
    return int(text) if text.isdigit() else 0
