"""The operator as a program: taking over from upstream, standing by, restarting, refusing."""

import asyncio
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tests.kube.cluster import Cluster, until
from tests.operator.builders import pod, role

from tandem.operator import labels
from tandem.operator.api import Api, ApiError, url_of
from tandem.operator.types import Raw

Runner = Callable[..., "subprocess.Popen[bytes]"]
NAMED = {labels.NAME: "g", labels.ROLE: "a"}


async def upstreams_workload(cluster: Cluster, owner: Raw) -> None:
    """As v0.4 made it: three labels, the Service called like the workload, its own field manager."""
    reference = {"apiVersion": f"{labels.GROUP}/v1alpha1", "kind": "RoleBasedGroup", "name": "g", "controller": True}
    metadata: Raw = {"name": "g-a", "namespace": cluster.namespace, "labels": NAMED}
    metadata["ownerReferences"] = [{**reference, "uid": owner["metadata"]["uid"]}]
    template = pod()
    template["metadata"] = {"labels": NAMED}
    spec = {
        "replicas": 1,
        "serviceName": "g-a",
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": NAMED},
        "template": template,
    }
    body = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec}
    params = {"fieldManager": "rbg", "force": "true"}
    path = url_of("StatefulSet", cluster.namespace, "g-a")
    await cluster.api.request("PATCH", path, body, params=params, content="application/apply-patch+yaml")


async def test_workloads_of_the_upstream_operator_are_taken_over_without_a_new_pod(
    empty: Cluster, run_operator: Runner
) -> None:
    owner = await empty.group("g", role("a"))
    await upstreams_workload(empty, owner)
    await until(lambda: empty.get("Pod", "g-a-0"))
    uid = (await empty.must("Pod", "g-a-0"))["metadata"]["uid"]
    operator = run_operator("--namespace", empty.namespace, "--lease-namespace", empty.namespace)
    await empty.ready("g")
    assert (await empty.must("Pod", "g-a-0"))["metadata"]["uid"] == uid
    assert (await empty.must("Service", "g-a"))["spec"]["clusterIP"] == "None"
    await empty.group("g", role("a", replicas=2))
    await empty.ready("g")
    assert (await empty.must("Pod", "g-a-0"))["metadata"]["uid"] == uid
    await empty.group("g", role("a", replicas=2, template=pod("main", "more")))
    await empty.ready("g")
    assert len((await empty.must("Pod", "g-a-0"))["spec"]["containers"]) == 2
    await empty.group("g", role("a", replicas=2, template=pod("another")))  # upstream's `main` must not stay beside it
    await empty.ready("g")
    found = (await empty.must("StatefulSet", "g-a"))["spec"]["template"]["spec"]["containers"]
    assert [container["name"] for container in found] == ["another"]
    await stop(operator)


async def stop(process: "subprocess.Popen[bytes]") -> int:
    process.terminate()
    return await asyncio.to_thread(process.wait, 20)


async def versions(cluster: Cluster) -> dict[str, str]:
    kinds = ("StatefulSet", "Service", "ConfigMap", "ControllerRevision", "RoleBasedGroup")
    found: dict[str, str] = {}
    for kind in kinds:
        for item in (await cluster.api.request("GET", url_of(kind, cluster.namespace)))["items"]:
            found[f"{kind}/{item['metadata']['name']}"] = item["metadata"]["resourceVersion"]
    return found


async def test_a_restart_changes_no_object(empty: Cluster, run_operator: Runner) -> None:
    flags = ("--namespace", empty.namespace, "--lease-namespace", empty.namespace)
    first = run_operator(*flags)
    resources = pod()
    resources["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1000m", "memory": "1024Mi"}}
    await empty.group("g", role("a", template=resources), role("b", dependencies=["a"]))
    await empty.ready("g")
    await asyncio.sleep(1)
    assert await stop(first) == 0
    before = await versions(empty)
    second = run_operator(*flags, name="again")
    await until(lambda: _logged(second, "operator.ready"))
    await asyncio.sleep(2)
    assert await versions(empty) == before
    await stop(second)


async def _logged(process: "subprocess.Popen[bytes]", text: str) -> bool:
    assert process.poll() is None, process.log.read_text()  # type: ignore[attr-defined]
    return text in process.log.read_text()  # type: ignore[attr-defined]


async def test_one_works_and_the_other_takes_over(empty: Cluster, run_operator: Runner) -> None:
    flags = ("--namespace", empty.namespace, "--lease-namespace", empty.namespace)
    first = run_operator(*flags, name="first")
    await until(lambda: _logged(first, "operator.ready"))
    second = run_operator(*flags, name="second")
    await until(lambda: _logged(second, "leader.standby"))
    await stop(first)
    await until(lambda: _logged(second, "operator.ready"))
    await empty.group("g", role("a"))
    await empty.ready("g")
    await stop(second)


async def test_it_refuses_to_start_beside_a_live_upstream_operator(empty: Cluster, run_operator: Runner) -> None:
    now = datetime.now(UTC)
    await upstream_lease(empty.api, empty.namespace, now)
    process = run_operator("--namespace", empty.namespace, "--lease-namespace", empty.namespace)
    assert await asyncio.to_thread(process.wait, 20) == 2
    log = process.log.read_text()  # type: ignore[attr-defined]
    assert f"lease rbg-controller in namespace {empty.namespace}, held by upstream-1" in log
    await upstream_lease(empty.api, empty.namespace, now - timedelta(hours=1))
    process = run_operator("--namespace", empty.namespace, "--lease-namespace", empty.namespace)
    await until(lambda: _logged(process, "operator.ready"))
    await stop(process)


async def upstream_lease(api: Api, namespace: str, renewed: datetime) -> None:
    stamp = renewed.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": "upstream-1", "leaseDurationSeconds": 15, "renewTime": stamp}
    body = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "rbg-controller"},
        "spec": spec,
    }
    try:
        await api.create(url_of("Lease", namespace), body)
    except ApiError:
        await api.patch(url_of("Lease", namespace, "rbg-controller"), {"spec": spec})
