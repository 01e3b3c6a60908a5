"""The rendered HPA, run by Kubernetes' own controller on an external metric, moves a role's replicas."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.deploy.builders import described
from tests.kube.cluster import Cluster, until
from tests.kube.external_metrics import external_metrics

from tandem.cli.deploy_cluster import KubeCluster
from tandem.deploy.description import Description
from tandem.deploy.diagnosis import diagnose
from tandem.deploy.looking import look_at
from tandem.deploy.render import render
from tandem.deploy.service import carry_out, survey

METRIC = "tandem_prefill_queue_seconds_p90"


async def apply(cluster: Cluster, wish: Description) -> KubeCluster:
    kube = KubeCluster(cluster.api)
    steps = render(wish, minor=await kube.minor())
    plan = await survey(kube, wish, steps, environ={}, random_hex=lambda count: "0" * count)
    assert not plan.faults, plan.faults
    await carry_out(kube, plan, prune=False, say=lambda line: None)
    return kube


async def test_without_an_operator_status_says_so(empty: Cluster) -> None:
    """Stands first: the tests below start one."""
    wish = msgspec.structs.replace(described(), namespace=empty.namespace)
    kube = await apply(empty, wish)
    seen = await look_at(kube, wish)
    assert seen.group_age_s is not None
    findings = diagnose(replace(seen, group_age_s=60.0))
    assert any("no operator has looked at it" in finding.what for finding in findings), findings


@pytest.mark.timeout(120)
async def test_a_longer_prefill_queue_makes_more_prefill_workers(cluster: Cluster, tmp_path: Path) -> None:
    scaling = {"min": 2, "max": 6, "queue-seconds": 1.0}
    wish = described(roles__prefill={"replicas": 2, "scaling": scaling}, metrics={"monitor": False})
    wish = msgspec.structs.replace(wish, namespace=cluster.namespace)
    async with external_metrics(cluster.api, cluster.namespace, tmp_path) as metrics:
        metrics.values[METRIC] = "400m"
        await apply(cluster, wish)
        await cluster.ready("qwen")
        hpa = f"/apis/autoscaling/v2beta2/namespaces/{cluster.namespace}/horizontalpodautoscalers/qwen-prefill"

        async def seen(kind: str) -> Any:
            found = await cluster.api.request("GET", hpa)
            states = {each["type"]: each for each in found["status"].get("conditions") or []}
            return states.get(kind, {})

        async def scaling_active() -> bool:
            return bool((await seen("ScalingActive")).get("status") == "True")

        await until(scaling_active, lambda: cluster.api.request("GET", hpa), limit_s=60)
        assert await replicas(cluster) == (2, 2)

        metrics.values[METRIC] = "4"
        await until(lambda: grown(cluster, 4), lambda: cluster.api.request("GET", hpa), limit_s=30)
        await cluster.ready("qwen")
        # The description still says 2, and applying it again takes nothing away.
        await apply(cluster, wish)
        await cluster.ready("qwen")
        assert await replicas(cluster) == (4, 4)
    selectors = {selector for _, name, selector in metrics.asked if name == METRIC}
    assert selectors == {"app_kubernetes_io_instance=qwen"}


async def replicas(cluster: Cluster) -> tuple[int, int]:
    """(of the workload, of the role in the group)."""
    group = await cluster.must("RoleBasedGroup", "qwen")
    [wished] = [role["replicas"] for role in group["spec"]["roles"] if role["name"] == "prefill"]
    return (await cluster.must("StatefulSet", "qwen-prefill"))["spec"]["replicas"], wished


async def grown(cluster: Cluster, count: int) -> bool:
    return await replicas(cluster) == (count, count)
