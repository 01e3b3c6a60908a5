"""One reconciliation beside another, on a server that takes whatever it is given."""

import asyncio
import json
from typing import Any

import pytest
from tests.operator.builders import ALL_KINDS, role
from tests.operator.test_ports import SIDE, asking

from tandem.operator import labels, ports
from tandem.operator.access import Access
from tandem.operator.adapters import KIND as ADAPTER
from tandem.operator.api import Api, ApiError
from tandem.operator.cache import Cache
from tandem.operator.metrics import OperatorMetrics
from tandem.operator.ports import read
from tandem.operator.reconcile import KIND, GroupReconciler
from tandem.operator.seen import ServerFacts
from tandem.operator.types import Raw


class EchoApi(Api):
    """The real client with a server behind it that keeps what is applied and refuses nothing."""

    def __init__(self) -> None:
        super().__init__(Access(server="http://nowhere"))
        self.kept: dict[str, Raw] = {}
        self.calls: list[tuple[str, str]] = []
        self.before: dict[tuple[str, str], asyncio.Event] = {}
        """Method and path of a call → what it waits for first."""
        self.refuse: dict[tuple[str, str], ApiError] = {}
        self._posted: list[tuple[str, list[Raw]]] = []

    async def request(self, method: str, path: str, body: Any = None, **_: Any) -> Raw:
        self.calls.append((method, path))
        await asyncio.sleep(0)
        if event := self.before.get((method, path)):
            await event.wait()
        if error := self.refuse.get((method, path)):
            raise error
        where = path.removesuffix("/status")
        if method == "GET":
            if where in self.kept:
                return self.kept[where]
            raise ApiError(404, "NotFound", path)
        if method == "POST":
            for wanted, found in self._posted:
                found += [body] if path == wanted else []
            return dict(body)
        old = self.kept.get(where, {})
        version = int(old.get("metadata", {}).get("resourceVersion", "0")) + 1
        metadata = {**old.get("metadata", {}), **body["metadata"], "resourceVersion": str(version)}
        self.kept[where] = {**old, **body, "metadata": metadata}
        return self.kept[where]

    def posted(self, path: str) -> list[Raw]:
        """Fills with what is created there from now on."""
        found: list[Raw] = []
        self._posted.append((path, found))
        return found

    def config_maps(self) -> list[Raw]:
        return [item for path, item in self.kept.items() if "/configmaps/" in path]


def a_group(name: str, *roles: Raw, status: Raw | None = None) -> Raw:
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "generation": 1, "resourceVersion": "1"}
    item: Raw = {"apiVersion": f"{labels.GROUP}/v1alpha1", "kind": KIND, "metadata": metadata}
    return {**item, "spec": {"roles": list(roles)}, **({"status": status} if status else {})}


def world(*groups: Raw) -> tuple[EchoApi, Cache, GroupReconciler]:
    api, cache = EchoApi(), Cache()
    for item in groups:
        cache.put(KIND, item)
        api.kept[f"/apis/{labels.GROUP}/v1alpha1/namespaces/default/rolebasedgroups/{item['metadata']['name']}"] = item
    facts = ServerFacts()
    return api, cache, GroupReconciler(api, cache, OperatorMetrics(), lambda: facts)


def given(api: EchoApi) -> list[int]:
    return [number for item in api.config_maps() for number in read(item).values()]


async def reconcile_the_other_meanwhile(reconciler: GroupReconciler, api: EchoApi, *, stopped_at: str) -> None:
    """Group `k` in full, while `g` waits for its PATCH of `stopped_at` to be answered; then the rest of `g`."""
    api.before["PATCH", stopped_at] = asyncio.Event()
    api.calls.clear()
    first = asyncio.create_task(reconciler.reconcile(("default", "g")))
    while ("PATCH", stopped_at) not in api.calls:
        await asyncio.sleep(0)
    await reconciler.reconcile(("default", "k"))
    api.before["PATCH", stopped_at].set()
    await first


COLLIDING = ("g", "k")
"""With two ports in all, both begin their search at the same one."""
ASKS = role("prefill", template=asking(allocations=[SIDE]))


async def test_groups_that_are_reconciled_at_once_get_different_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "COUNT", 2)
    api, _, reconciler = world(a_group("g", ASKS), a_group("k", ASKS))
    await asyncio.gather(*(reconciler.reconcile(("default", name)) for name in COLLIDING))
    assert sorted(given(api)) == [ports.FIRST, ports.FIRST + 1]


async def test_a_port_given_while_another_group_tells_its_restart_is_not_given_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first group is stopped where it writes its status, after it has looked and before it decides."""
    monkeypatch.setattr(ports, "COUNT", 2)
    asks = {**ASKS, "restartPolicy": "RecreateRBGOnPodRestart"}
    since = {"reason": "x", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}
    pairs = [(labels.READY, "True"), (labels.RESTARTING, "False")]
    status = {"conditions": [{"type": kind, "status": value, **since} for kind, value in pairs]}
    api, cache, reconciler = world(a_group("g", asks, status=status), a_group("k", ASKS))
    failed = {"name": "main", "restartCount": 1}
    named = {labels.NAME: "g", labels.ROLE: "prefill"}
    made = {"name": "g-prefill-0", "namespace": "default", "labels": named, "creationTimestamp": "2026-01-02T00:00:00Z"}
    cache.put("Pod", {"metadata": made, "status": {"phase": "Running", "containerStatuses": [failed]}})
    told = f"/apis/{labels.GROUP}/v1alpha1/namespaces/default/rolebasedgroups/g/status"
    await reconcile_the_other_meanwhile(reconciler, api, stopped_at=told)
    assert sorted(given(api)) == [ports.FIRST, ports.FIRST + 1]


async def test_a_port_that_a_found_config_map_remembers_is_known_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The map is not in the cache, so it is found by asking; what is decided then is what others must not get."""
    monkeypatch.setattr(ports, "COUNT", 2)
    api, _, reconciler = world(a_group("g", ASKS), a_group("k", ASKS))
    await reconciler.reconcile(("default", "g"))
    [number] = given(api)
    other = 2 * ports.FIRST + 1 - number
    path = "/api/v1/namespaces/default/configmaps/g-prefill"
    api.kept[path]["metadata"]["annotations"][labels.PORTS] = json.dumps({"side-channel": other})
    fresh = GroupReconciler(api, _cache_of(api), OperatorMetrics(), ServerFacts)
    await reconcile_the_other_meanwhile(fresh, api, stopped_at=path)
    assert given(api) == [other, number]


def _cache_of(api: EchoApi) -> Cache:
    cache = Cache()
    for path, item in api.kept.items():
        if "/rolebasedgroups/" in path:
            cache.put(KIND, item)
    return cache


async def test_a_status_that_differs_in_one_count_is_written() -> None:
    api, cache, reconciler = world(a_group("g", role("a")))
    await reconciler.reconcile(("default", "g"))
    workload = cache.get("StatefulSet", "default", "g-a")
    assert workload is not None
    for updated in (0, 1):
        version = str(100 + updated)
        status = {"replicas": 1, "readyReplicas": 1, "updatedReplicas": updated}
        metadata = {**workload["metadata"], "resourceVersion": version}
        cache.put("StatefulSet", {**workload, "metadata": metadata, "status": status})
        await reconciler.reconcile(("default", "g"))
        found = cache.get(KIND, "default", "g")
        assert found is not None
        assert found["status"]["roleStatuses"][0]["updatedReplicas"] == updated
    told = f"/apis/{labels.GROUP}/v1alpha1/namespaces/default/rolebasedgroups/g/status"
    writes = api.calls.count(("PATCH", told))
    await reconciler.reconcile(("default", "g"))
    assert api.calls.count(("PATCH", told)) == writes


async def test_an_adapter_of_somebody_else_is_not_written() -> None:
    api, cache, reconciler = world(a_group("g", role("a", scalingAdapter={"enable": True})))
    target = {"scaleTargetRef": {"name": "g", "role": "a"}}
    foreign: Raw = {"metadata": {"name": "g-a", "namespace": "default", "uid": "1"}, "spec": target}
    cache.put(ADAPTER, foreign)
    api.kept[f"/apis/{labels.GROUP}/v1alpha1/namespaces/default/rolebasedgroupscalingadapters/g-a"] = foreign
    await reconciler.reconcile(("default", "g"))
    assert {method for method, path in api.calls if "scalingadapters" in path} == {"GET"}
    assert cache.get("StatefulSet", "default", "g-a") is not None


async def test_a_pod_group_that_the_server_refuses_is_told() -> None:
    item = a_group("g", role("a"))
    item["spec"]["podGroupPolicy"] = {"kubeScheduling": {}}
    api, cache, _ = world(item)
    reconciler = GroupReconciler(api, cache, OperatorMetrics(), lambda: ServerFacts(kinds=ALL_KINDS))
    path = "/apis/scheduling.x-k8s.io/v1alpha1/namespaces/default/podgroups/g"
    api.refuse["PATCH", path] = ApiError(403, "Forbidden", "no")
    assert (await reconciler.reconcile(("default", "g"))).failed
    ready = cache.get(KIND, "default", "g")["status"]["conditions"][0]  # type: ignore[index]
    assert ready["message"] == "role a: PodGroup g was refused: no"
