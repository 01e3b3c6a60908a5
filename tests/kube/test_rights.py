"""The operator with the rights that the chart gives it, and no others."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tests.kube.cluster import Cluster, until
from tests.kube.conftest import free_port
from tests.kube.test_changes import ADAPTER, rolling
from tests.kube.test_operators import stop
from tests.kube.test_scale import fetched
from tests.operator.builders import DEPLOYMENT, LWS, role
from tests.operator.test_hub_token import serving

from tandem.operator.api import APPLY, url_of
from tandem.operator.chart import render
from tandem.operator.types import Raw

Runner = Callable[..., "subprocess.Popen[bytes]"]
CHART = Path(__file__).parents[2] / "deploy" / "helm" / "operator"
PLURALS = {
    "ServiceAccount": "serviceaccounts",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Role": "roles",
    "RoleBinding": "rolebindings",
}


async def apply_rights(cluster: Cluster, *, alone: bool) -> str:
    """The chart's account and roles, in this namespace, or for it alone; returns a token of the account."""
    values: Raw = {"namespace": cluster.namespace} if alone else {}
    release = "alone" if alone else "tandem-operator"
    made = render(CHART, values, release=release, namespace=cluster.namespace)
    objects = [item for item in made if item["kind"] in PLURALS]
    assert {item["kind"] for item in objects} == PLURALS.keys()
    for item in objects:
        metadata, version = item["metadata"], item["apiVersion"]
        root = "/api/v1" if version == "v1" else f"/apis/{version}"
        middle = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
        path = f"{root}{middle}/{PLURALS[item['kind']]}/{metadata['name']}"
        await cluster.api.request("PATCH", path, item, params={"fieldManager": "test", "force": "true"}, content=APPLY)
    account = f"/api/v1/namespaces/{cluster.namespace}/serviceaccounts/{release}/token"
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    return str((await cluster.api.create(account, asked))["status"]["token"])


def as_account(kubeconfig: str, token: str, folder: Path) -> str:
    config = yaml.safe_load(Path(kubeconfig).read_text())
    for user in config["users"]:
        user["user"] = {"token": token}
    (folder / "config").write_text(yaml.safe_dump(config))
    return str(folder / "config")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("alone", [False, True])
async def test_the_charts_rights_are_enough_for_all_that_it_does(
    alone: bool, empty: Cluster, run_operator: Runner, kubeconfig: str, tmp_path: Path
) -> None:
    """Everything that it makes, changes, deletes and tells once; what it may not do would be an answer 403."""
    port = str(free_port())
    flags = ["--kubeconfig", as_account(kubeconfig, await apply_rights(empty, alone=alone), tmp_path)]
    flags += ["--http-port", port, *(["--namespace", empty.namespace] if alone else [])]
    operator = run_operator(*flags, "--lease-namespace", empty.namespace, name="rights")
    profile = f"p-{empty.namespace}"
    await empty.write("ClusterEngineRuntimeProfile", profile, {"containers": [{"name": "side", "image": "x"}]})
    roles = [
        role("a", template=serving(), scalingAdapter={"enable": True}, engineRuntimes=[{"profileName": profile}]),
        role("web", workload=DEPLOYMENT, servicePorts=[{"port": 80}], dependencies=["a"]),
    ]
    await empty.group("g", *roles, podGroupPolicy={"kubeScheduling": {}})
    await empty.ready("g")
    secrets: Raw = await empty.api.request("GET", url_of("Secret", empty.namespace))
    assert len([item for item in secrets["items"] if item["metadata"]["name"].startswith("g-hub-")]) == 1
    await empty.api.patch(f"{url_of(ADAPTER, empty.namespace, 'g-a')}/scale", {"spec": {"replicas": 2}})
    await empty.group("ranks", role("w", workload=LWS, leaderWorkerSet={"size": 2}))
    await until(lambda: empty.get("LeaderWorkerSet", "ranks-w"))
    await empty.group("ranks", role("w"))
    await empty.write("RoleBasedGroupSet", "s", {"replicas": 2, "template": {"roles": [rolling("one", 1)]}})
    await empty.ready("s", "RoleBasedGroupSet")
    await empty.write("RoleBasedGroupSet", "s", {"replicas": 1, "template": {"roles": [rolling("one", 1)]}})
    await until(lambda: _gone(empty, "LeaderWorkerSet", "ranks-w"))
    await until(lambda: _gone(empty, "RoleBasedGroup", "s-1"))
    await empty.group("g", roles[0])
    await until(lambda: _gone(empty, "Deployment", "g-web"))
    await empty.ready("g")
    assert {"SuccessfulBound", "Succeed"} <= {*await empty.events("g"), *await empty.events("g-a")}
    calls = [line for line in (await fetched(int(port))).splitlines() if line.startswith("tandem_operator_api_calls")]
    assert calls
    assert not [line for line in calls if 'status="401"' in line or 'status="403"' in line]
    assert await stop(operator) == 0
    assert "orbidden" not in operator.log.read_text()  # type: ignore[attr-defined]
    await empty.api.request("DELETE", url_of("ClusterEngineRuntimeProfile", None, profile))


async def _gone(cluster: Cluster, kind: str, name: str) -> bool:
    """Or going: the garbage collector takes half a minute to learn of kinds that are new to it."""
    found = await cluster.get(kind, name)
    return found is None or "deletionTimestamp" in found["metadata"]
