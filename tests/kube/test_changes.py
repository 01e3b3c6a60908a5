"""Scaling, rolling, restarting, going back: a group that changes."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.kube.cluster import READY_POD, Cluster, until
from tests.operator.builders import pod, role

from tandem.core.paths import at
from tandem.operator import labels
from tandem.operator.api import url_of
from tandem.operator.restarts import parse_time
from tandem.operator.types import Raw

ADAPTER = "RoleBasedGroupScalingAdapter"


async def replicas(cluster: Cluster, name: str) -> int:
    return int((await cluster.must("StatefulSet", name))["spec"]["replicas"])


async def is_scaled(cluster: Cluster, name: str, wanted: int) -> bool:
    return await replicas(cluster, name) == wanted


async def test_scaling_a_role_leaves_the_others_and_all_pods_alone(cluster: Cluster) -> None:
    await cluster.group("g", role("a", replicas=2), role("b"))
    await cluster.ready("g")
    before = {n: (await cluster.must("StatefulSet", n))["metadata"]["generation"] for n in ("g-a", "g-b")}
    uid = (await cluster.must("Pod", "g-a-0"))["metadata"]["uid"]
    await cluster.group("g", role("a", replicas=3), role("b"))
    await cluster.ready("g")
    after = {n: (await cluster.must("StatefulSet", n))["metadata"]["generation"] for n in ("g-a", "g-b")}
    assert after == {"g-a": before["g-a"] + 1, "g-b": before["g-b"]}
    assert (await cluster.must("Pod", "g-a-0"))["metadata"]["uid"] == uid
    assert "g-a-2.s-g-a" in (await cluster.must("ConfigMap", "g-b"))["data"]["config.yaml"]
    assert len([n for n in await cluster.names("ControllerRevision") if n.startswith("g-") and n.endswith("-1")]) == 1


async def test_the_scaling_adapter_scales_and_wins(cluster: Cluster) -> None:
    roles = (role("a", replicas=1, scalingAdapter={"enable": True}), role("b"))
    await cluster.group("g", *roles)
    await cluster.ready("g")

    async def bound() -> bool:
        status = at(await cluster.get(ADAPTER, "g-a"), "status", default={})
        return bool(status.get("phase") == "Bound" and status.get("selector"))

    await until(bound)
    scale = f"{url_of(ADAPTER, cluster.namespace, 'g-a')}/scale"
    found = await cluster.api.request("GET", scale)
    assert found["status"]["selector"].startswith(labels.GROUP_KEY)
    await cluster.api.patch(scale, {"spec": {"replicas": 3}})
    await until(lambda: is_scaled(cluster, "g-a", 3))
    await cluster.ready("g")
    group = await cluster.must("RoleBasedGroup", "g")
    assert group["spec"]["roles"][0]["replicas"] == 3
    await cluster.group("g", *roles)  # a Helm upgrade writes the old number
    await until(lambda: _role_says(cluster, 3))
    assert await replicas(cluster, "g-a") == 3
    assert {"SuccessfulBound", "SuccessfulScale"} <= {*await cluster.events("g"), *await cluster.events("g-a")}
    await cluster.group("g", role("a", replicas=3, scalingAdapter={"enable": False}), role("b"))
    await until(lambda: _gone(cluster, ADAPTER, "g-a"))


async def test_an_autoscaler_scales_a_role_through_its_adapter(cluster: Cluster) -> None:
    """Without metrics it still keeps its least number of pods, which is enough to see that it finds its way."""
    await cluster.group("g", role("a", replicas=1, scalingAdapter={"enable": True}))
    await cluster.ready("g")
    target = {"apiVersion": f"{labels.GROUP}/v1alpha1", "kind": ADAPTER, "name": "g-a"}
    spec = {"scaleTargetRef": target, "minReplicas": 3, "maxReplicas": 5, "targetCPUUtilizationPercentage": 80}
    head = {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "g-a"}}
    path = f"/apis/autoscaling/v1/namespaces/{cluster.namespace}/horizontalpodautoscalers"
    await cluster.api.create(path, {**head, "spec": spec})
    await until(lambda: is_scaled(cluster, "g-a", 3), limit_s=60)
    await cluster.ready("g")
    assert (await cluster.must("RoleBasedGroup", "g"))["spec"]["roles"][0]["replicas"] == 3


async def _role_says(cluster: Cluster, wanted: int) -> bool:
    roles = (await cluster.must("RoleBasedGroup", "g"))["spec"]["roles"]
    return bool(roles[0]["replicas"] == wanted)


async def _gone(cluster: Cluster, kind: str, name: str) -> bool:
    return await cluster.get(kind, name) is None


def rolling(version: str, replicas: int = 3, **update: Any) -> Raw:
    template = pod()
    template["spec"]["containers"][0]["image"] = version
    return role("a", replicas=replicas, template=template, rolloutStrategy={"rollingUpdate": update})


async def images(cluster: Cluster) -> list[str]:
    names = [name for name in await cluster.names("Pod") if name.startswith("g-a-")]
    return [
        at(await cluster.get("Pod", name), "spec", "containers", default=[{}])[0].get("image", "") for name in names
    ]


async def test_a_rolling_update_holds_its_partition_and_then_ends(cluster: Cluster) -> None:
    await cluster.group("g", rolling("one", partition=2))
    await cluster.ready("g")
    await cluster.group("g", rolling("two", partition=2))
    await until(lambda: _images_are(cluster, ["one", "one", "two"]))
    await cluster.ready("g")
    await cluster.group("g", rolling("two", partition=0))
    await until(lambda: _images_are(cluster, ["two", "two", "two"]))
    await cluster.ready("g")
    assert (await cluster.condition("RoleBasedGroup", "g", labels.ROLLING))["status"] == "False"


async def _images_are(cluster: Cluster, wanted: list[str]) -> bool:
    return await images(cluster) == wanted


async def test_a_surge_keeps_all_pods_while_it_rolls(cluster: Cluster) -> None:
    await cluster.group("g", rolling("one", 2, maxSurge=1, maxUnavailable=0))
    await cluster.ready("g")
    await cluster.group("g", rolling("two", 2, maxSurge=1, maxUnavailable=0))
    seen = set[int]()

    async def over() -> bool:
        seen.add(await replicas(cluster, "g-a"))
        return await images(cluster) == ["two", "two"] and await replicas(cluster, "g-a") == 2

    await until(over, limit_s=40)
    assert seen == {2, 3}
    await cluster.ready("g")


async def test_a_failing_pod_restarts_the_whole_group_in_order(cluster: Cluster) -> None:
    await cluster.group("g", role("a", restartPolicy="RecreateRBGOnPodRestart"), role("b", dependencies=["a"]))
    await cluster.ready("g")
    await until(lambda: cluster.condition("RoleBasedGroup", "g", labels.RESTARTING))
    before = [(await cluster.must("StatefulSet", name))["metadata"]["uid"] for name in ("g-a", "g-b")]
    status = {"name": "main", "image": "x", "imageID": "", "ready": True, "restartCount": 1}
    # Time stamps have whole seconds: what is as old as the restart was made after it began.
    await until(lambda: _older(cluster))
    await cluster.report("g-a-0", {**READY_POD, "containerStatuses": [status]})

    async def anew() -> bool:
        found = [at(await cluster.get("StatefulSet", name), "metadata", "uid") for name in ("g-a", "g-b")]
        return None not in found and not set(found) & set(before)

    await until(anew, limit_s=40)
    await cluster.ready("g")
    await until(lambda: _restarted(cluster))

    async def told() -> bool:  # an event is sent after the status that it tells of
        restarts = [name for name in await cluster.events("g") if "Restart" in name]
        return restarts == ["RBGRestart", "RBGRestartCompleted"]

    await until(told, lambda: cluster.events("g"))


async def _older(cluster: Cluster) -> bool:
    made = parse_time((await cluster.must("StatefulSet", "g-b"))["metadata"]["creationTimestamp"])
    return datetime.now(UTC) - made > timedelta(seconds=2)


async def _restarted(cluster: Cluster) -> bool:
    found = await cluster.condition("RoleBasedGroup", "g", labels.RESTARTING)
    return found.get("reason") == "RBGRestartCompleted"


async def test_quick_edits_end_at_the_last_of_them(cluster: Cluster) -> None:
    """Nobody waits for the one before; the size changes in the middle of a rollout, and back."""
    for number in range(6):
        await cluster.group("g", rolling(f"v{number}", 2 + number % 2))
    await until(lambda: _images_are(cluster, ["v5"] * 3), lambda: images(cluster), limit_s=40)
    await cluster.ready("g")
    assert await replicas(cluster, "g-a") == 3
    assert (await cluster.condition("RoleBasedGroup", "g", labels.ROLLING))["status"] == "False"


async def test_history_has_a_revision_for_each_content_and_five_at_most(cluster: Cluster) -> None:
    for number in range(7):
        await cluster.group("g", rolling(f"v{number}", 1))
        await until(lambda number=number: _has_revision(cluster, number + 1))  # type: ignore[misc]
    found = [name for name in await cluster.names("ControllerRevision") if "g-a" not in name]
    assert sorted(int(name.rsplit("-", 1)[1]) for name in found) == [3, 4, 5, 6, 7]


async def _has_revision(cluster: Cluster, number: int) -> bool:
    names = [name for name in await cluster.names("ControllerRevision") if "g-a" not in name]
    return any(name.endswith(f"-{number}") for name in names) and len(names) <= 5


async def test_a_set_makes_scales_and_rolls_its_groups_one_by_one(cluster: Cluster) -> None:
    kind = "RoleBasedGroupSet"
    await cluster.write(kind, "s", {"replicas": 3, "template": {"roles": [rolling("one", 1)]}})
    await cluster.ready("s", kind)
    assert await cluster.names("RoleBasedGroup") == ["s-0", "s-1", "s-2"]
    await cluster.write(kind, "s", {"replicas": 3, "template": {"roles": [rolling("two", 1)]}})
    unready: list[int] = []

    async def over() -> bool:
        states = [await cluster.condition("RoleBasedGroup", f"s-{i}") for i in range(3)]
        unready.append(sum(state.get("status") != "True" for state in states))
        return (await cluster.condition(kind, "s")).get("status") == "True"

    await until(over, limit_s=40)
    assert max(unready) <= 1
    path = f"{url_of(kind, cluster.namespace, 's')}/scale"
    await cluster.api.patch(path, {"spec": {"replicas": 1}})
    await until(lambda: _are(cluster, ["s-0"]))
    await cluster.delete("RoleBasedGroup", "s-0")
    await cluster.ready("s", kind)


async def _are(cluster: Cluster, wanted: list[str]) -> bool:
    return await cluster.names("RoleBasedGroup") == wanted
