"""A cluster in memory. It passes the same contract as the real adapter (tests/kube/test_cluster_contract.py)."""

import copy
import re
from collections.abc import Sequence

from tandem.deploy.objects import MANAGER, Object
from tandem.deploy.ports import Forbidden, Refused
from tandem.deploy.service import PRUNED

KINDS = {
    ("v1", kind): kind not in ("Namespace", "Node", "PersistentVolume")
    for kind in ("Namespace", "Node", "PersistentVolume", "PersistentVolumeClaim", "Pod", "Event", "Secret")
}
KINDS |= dict.fromkeys(PRUNED, True) | {("workloads.x-k8s.io/v1alpha1", "RoleBasedGroup"): True}
KINDS |= {("autoscaling/v2", "HorizontalPodAutoscaler"): True}
Key = tuple[str, str | None, str]


class MemoryCluster:
    """Objects by kind, namespace and name. `refuses` makes it say no to a kind; `writes` tells what was written."""

    def __init__(self, *namespaces: str, without: Sequence[str] = ()) -> None:
        self.objects: dict[Key, Object] = {}
        self.refuses: dict[str, str] = {}
        self.hidden: set[str] = set()
        """Kinds that may not be read."""
        self.writes: list[str] = []
        self._kinds = {pair: spaced for pair, spaced in KINDS.items() if not {*pair} & {*without}}
        self._count = 0
        for name in ("default", *namespaces):
            self.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, manager="kubectl")

    def put(self, item: Object, *, manager: str) -> Object:
        """As somebody else would write it."""
        self._count += 1
        found = copy.deepcopy(item)
        found["metadata"] |= {"uid": f"u{self._count}", "managedFields": [{"manager": manager}]}
        self.objects[self._key(item)] = found
        return found

    async def minor(self) -> int:
        return 37

    async def serves(self, api: str, kind: str) -> bool:
        return (api, kind) in self._kinds

    async def get(self, item: Object) -> Object | None:
        self._allowed(item["kind"])
        return copy.deepcopy(self.objects.get(self._key(item)))

    async def apply(self, item: Object, *, dry_run: bool) -> Object:
        self._check(item)
        live = self.objects.get(self._key(item))
        managers = [entry["manager"] for entry in live["metadata"]["managedFields"]] if live else []
        after = copy.deepcopy(item)
        after["metadata"] |= {"managedFields": [{"manager": name} for name in dict.fromkeys([*managers, MANAGER])]}
        after["metadata"]["uid"] = live["metadata"]["uid"] if live else f"u{self._count}"
        if live is not None and "status" in live:
            after["status"] = live["status"]
        if not dry_run:
            self._count += 1
            self.objects[self._key(item)] = copy.deepcopy(after)
            self.writes.append(f"{item['kind']} {item['metadata']['name']}")
        return after

    async def create(self, item: Object) -> None:
        self._check(item)
        if self._key(item) in self.objects:
            raise Refused(409, f"{item['metadata']['name']} already exists")
        self.put(item, manager=MANAGER)
        self.writes.append(f"{item['kind']} {item['metadata']['name']}")

    async def delete(self, item: Object) -> None:
        live = self.objects.get(self._key(item))
        if live is not None and live["metadata"]["uid"] == item["metadata"].get("uid", live["metadata"]["uid"]):
            del self.objects[self._key(item)]

    async def listed(self, api: str, kind: str, namespace: str | None, selector: str = "") -> Sequence[Object]:
        self._allowed(kind)
        wanted = dict(pair.split("=", 1) for pair in selector.split(",") if "=" in pair)
        return [
            copy.deepcopy(item)
            for (found, space, _), item in self.objects.items()
            if found == kind
            and await self.serves(api, kind)
            and space in (namespace, None)
            and wanted.items() <= item["metadata"].get("labels", {}).items()
        ]

    async def log(self, namespace: str, pod: str, container: str, *, previous: bool) -> str:
        return ""

    def _allowed(self, kind: str) -> None:
        if kind in self.hidden:
            raise Forbidden(403, f"{kind} is forbidden")

    def _check(self, item: Object) -> None:
        name, space = item["metadata"]["name"], item["metadata"].get("namespace")
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name):
            raise Refused(422, f"{name} is no name")
        if space is not None and ("Namespace", None, space) not in self.objects:
            raise Refused(404, f'namespaces "{space}" not found')
        if words := self.refuses.get(item["kind"]):
            raise Refused(422, words)

    def _key(self, item: Object) -> Key:
        return item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]
