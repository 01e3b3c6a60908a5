"""Apply, wait and delete: all or nothing, in order, and nobody else's objects."""

from typing import Any

import pytest
from tests.contracts.cluster_contract import ClusterContract
from tests.deploy.builders import described
from tests.deploy.memory_cluster import MemoryCluster

from tandem.deploy.description import Description
from tandem.deploy.diagnosis import diagnose
from tandem.deploy.look import Look, all_ready
from tandem.deploy.looking import look_at
from tandem.deploy.ports import Cluster, Refused
from tandem.deploy.render import render
from tandem.deploy.service import Plan, carry_out, removal, survey, wait
from tandem.errors import RequestError, Unavailable

NFS = {"kind": "nfs", "server": "nas", "path": "/m"}


class TestMemoryCluster(ClusterContract):
    @pytest.fixture
    def cluster(self) -> Cluster:
        return MemoryCluster()

    @pytest.fixture
    def namespace(self) -> str:
        return "default"


async def planned(cluster: Cluster, wish: Description, **environ: str) -> Plan:
    steps = render(wish, minor=37)
    return await survey(cluster, wish, steps, environ=environ, random_hex=lambda count: "ab" * count)


async def applied(cluster: Cluster, wish: Description, *, prune: bool = False) -> list[str]:
    plan = await planned(cluster, wish)
    assert plan.faults == []
    said: list[str] = []
    await carry_out(cluster, plan, prune=prune, say=said.append)
    return said


async def test_a_second_apply_has_nothing_to_do() -> None:
    cluster, wish = MemoryCluster(), described(model__storage=NFS)
    said = await applied(cluster, wish)
    assert said[0] == "Secret qwen-nats made with a random password"
    assert not (await planned(cluster, wish)).differs
    assert await applied(cluster, wish) == []


async def test_secrets_come_first_and_the_group_before_its_front_door() -> None:
    cluster = MemoryCluster()
    await applied(cluster, described(model__storage=NFS))
    writes = cluster.writes
    order = ["Secret qwen-nats", "PersistentVolume default-qwen-model", "StatefulSet qwen-etcd", "RoleBasedGroup qwen"]
    assert [writes.index(each) for each in order] == sorted(writes.index(each) for each in order)
    assert writes.index("RoleBasedGroup qwen") < writes.index("Service qwen")


async def test_one_object_that_is_refused_and_nothing_is_written() -> None:
    cluster = MemoryCluster()
    cluster.refuses["RoleBasedGroup"] = "spec.roles is wrong"
    plan = await planned(cluster, described())
    assert plan.faults == ["RoleBasedGroup qwen is refused: spec.roles is wrong"]
    assert cluster.writes == []


async def test_kinds_that_are_not_installed_are_told_with_what_brings_them() -> None:
    wish = described(metrics={}, ingress={"kind": "gateway", "host": "h", "gateway": "g"})
    plan = await planned(MemoryCluster(without=("RoleBasedGroup", "PodMonitor", "HTTPRoute")), wish)
    assert [fault.split(":")[0] for fault in plan.faults] == [
        "this cluster does not know RoleBasedGroup of workloads.x-k8s.io/v1alpha1",
        "this cluster does not know HTTPRoute of gateway.networking.k8s.io/v1",
        "this cluster does not know PodMonitor of monitoring.coreos.com/v1",
    ]
    assert "deploy/operator.yaml" in plan.faults[0]


async def test_all_that_is_missing_is_told_together() -> None:
    oss = {"kind": "oss", "bucket": "b", "endpoint": "e", "path": "/p"}
    plan = await planned(MemoryCluster(), described(model__storage=oss, front={"keys-secret": "k"}))
    assert len(plan.faults) == 2
    assert "set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET" in plan.faults[0]
    assert await planned(MemoryCluster(), described(namespace="nowhere")) == Plan(
        faults=["there is no namespace nowhere: kubectl create namespace nowhere"]
    )


async def test_a_server_that_changes_its_mind_is_told_with_what_had_been_written() -> None:
    class Fickle(MemoryCluster):
        async def apply(self, item: dict[str, Any], *, dry_run: bool) -> dict[str, Any]:
            if item["kind"] == "RoleBasedGroup" and not dry_run:
                raise Refused(500, "etcd is full")
            return await super().apply(item, dry_run=dry_run)

    cluster = Fickle()
    plan = await planned(cluster, described())
    with pytest.raises(RequestError, match=r"etcd is full; written before that: Secret qwen-nats, .*apply again"):
        await carry_out(cluster, plan, prune=False, say=lambda line: None)


async def test_a_budget_of_an_older_api_goes_too() -> None:
    cluster = MemoryCluster(without=["policy/v1"])
    steps = render(described(), minor=20)
    plan = await survey(cluster, described(), steps, environ={}, random_hex=lambda count: "ab" * count)
    await carry_out(cluster, plan, prune=False, say=lambda line: None)
    alone = described(roles__prefill=None)
    plan = await survey(cluster, alone, render(alone, minor=20), environ={}, random_hex=lambda count: "ab" * count)
    left = [(item["apiVersion"], item["metadata"]["name"]) for item in plan.leftovers]
    assert ("policy/v1beta1", "qwen-prefill") in left


async def test_what_a_server_shows_in_two_versions_is_left_over_once() -> None:
    cluster = MemoryCluster()
    await applied(cluster, described())
    plan = await planned(cluster, described(roles__prefill=None))
    names = [f"{item['kind']} {item['metadata']['name']}" for item in plan.leftovers]
    assert "PodDisruptionBudget qwen-prefill" in names
    assert len(names) == len(set(names))


async def test_what_is_described_no_longer_goes_when_asked() -> None:
    cluster = MemoryCluster()
    await applied(cluster, described(metrics={}))
    cluster.put({**(await cluster.listed("v1", "Service", "default"))[0], "kind": "Service"}, manager="kubectl")
    outside = described(planes={"nats": {"server": "nats://elsewhere:4222"}})
    plan = await planned(cluster, outside)
    left = {f"{item['kind']} {item['metadata']['name']}" for item in plan.leftovers}
    expected = {"Service", "ConfigMap", "StatefulSet", "NetworkPolicy"}
    assert left == {f"{kind} qwen-nats" for kind in expected} | {"PodMonitor qwen"}
    await applied(cluster, outside, prune=True)
    assert (await planned(cluster, outside)).leftovers == []


async def test_delete_keeps_data_and_what_is_not_ours() -> None:
    cluster, wish = MemoryCluster(), described(model__storage=NFS)
    await applied(cluster, wish)
    foreign = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "qwen", "namespace": "default"}}
    cluster.put(foreign, manager="kubectl")
    steps = render(wish, minor=37)
    found = await removal(cluster, wish, steps, volumes=False)
    kept = {f"{item['kind']} {item['metadata']['name']}" for item in found.kept}
    assert kept == {
        "PersistentVolume default-qwen-model",
        "PersistentVolumeClaim qwen-model",
        "Secret qwen-nats",
    }
    assert [item["metadata"]["name"] for item in found.foreign] == ["qwen"]
    assert found.objects[0]["kind"] == "RoleBasedGroup"
    everything = await removal(cluster, wish, steps, volumes=True)
    assert everything.kept == []
    assert len(everything.objects) == len(found.objects) + 3


async def test_delete_takes_what_an_earlier_description_left() -> None:
    cluster, wish = MemoryCluster(), described()
    await applied(cluster, described(metrics={}))
    found = await removal(cluster, wish, render(wish, minor=37), volumes=False)
    assert "PodMonitor qwen" in {f"{item['kind']} {item['metadata']['name']}" for item in found.objects}
    for item in found.objects:
        await cluster.delete(item)
    assert (await removal(cluster, wish, render(wish, minor=37), volumes=False)).objects == []


async def test_who_sees_only_a_namespace_can_apply_and_ask() -> None:
    cluster, wish = MemoryCluster(), described()
    cluster.hidden = {"Namespace", "Node", "Event", "PodMonitor", "Ingress"}
    await applied(cluster, wish)
    seen = await look_at(cluster, wish)
    assert seen.namespace_there
    assert seen.nodes is None
    cluster.hidden = {"Pod"}
    with pytest.raises(Refused, match="Pod is forbidden"):
        await look_at(cluster, wish)


async def test_an_api_server_that_is_away_for_a_while_is_waited_for() -> None:
    cluster, now = MemoryCluster(), 0.0
    looks = 0

    async def pause(seconds: float) -> None:
        nonlocal now
        now += seconds

    async def look() -> Look:
        nonlocal looks
        looks += 1
        if looks in (2, 3):
            raise Unavailable("it does not answer")
        return await look_at(cluster, described())

    await wait(look, lambda seen: None, timeout_s=10, clock=lambda: now, pause=pause)
    assert looks == 6

    async def away() -> Look:
        raise Unavailable("it does not answer")

    with pytest.raises(Unavailable):
        await wait(away, lambda seen: None, timeout_s=10, clock=lambda: now, pause=pause)


async def test_waiting_ends_when_all_is_ready_or_time_is_up() -> None:
    cluster, wish = MemoryCluster(), described()
    await applied(cluster, wish)
    shown: list[Look] = []
    now = 0.0

    async def pause(seconds: float) -> None:
        nonlocal now
        now += seconds
        if now >= 10:
            for (kind, _, _), item in cluster.objects.items():
                if kind == "StatefulSet":
                    item["status"] = {"readyReplicas": item["spec"]["replicas"]}
                if kind == "RoleBasedGroup":
                    item["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}

    async def look() -> Look:
        return await look_at(cluster, wish)

    last = await wait(look, shown.append, timeout_s=4, clock=lambda: now, pause=pause)
    assert not all_ready(last)
    assert any("no operator" in finding.what for finding in diagnose(last))
    last = await wait(look, shown.append, timeout_s=60, clock=lambda: now, pause=pause)
    assert all_ready(last)
    assert now == 10
