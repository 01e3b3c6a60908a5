"""What is deployed, against a real server: every object is accepted, and the operator's rights are enough."""

import asyncio
import base64
import subprocess
from collections.abc import Callable
from pathlib import Path

import yaml
from tests.kube.cluster import Cluster, until
from tests.kube.conftest import free_port
from tests.operator.builders import DEPLOYMENT, role

from tandem.operator.api import APPLY, Api
from tandem.operator.chart import render
from tandem.operator.types import Raw

Runner = Callable[..., "subprocess.Popen[bytes]"]
CHART = Path(__file__).parents[2] / "deploy" / "helm" / "operator"
WEBHOOK: Raw = {"webhook": {"enabled": True, "certSecret": "tls", "caBundle": ""}}


def path_of(item: Raw) -> str:
    version, kind = item["apiVersion"], item["kind"]
    plural = kind.lower() + "s"
    root = "/api/v1" if version == "v1" else f"/apis/{version}"
    namespace = item["metadata"].get("namespace")
    return f"{root}{f'/namespaces/{namespace}' if namespace else ''}/{plural}/{item['metadata']['name']}"


async def apply(api: Api, item: Raw, **params: str) -> Raw:
    query = {"fieldManager": "test", "force": "true", **params}
    return await api.request("PATCH", path_of(item), item, params=query, content=APPLY)


async def test_every_object_of_the_chart_is_taken_by_the_server(empty: Cluster) -> None:
    """Server-side apply refuses unknown fields and wrong types, so this checks against the server's own schemas."""
    served = await empty.api.request("GET", "/apis")
    versions = {version["groupVersion"] for group in served["groups"] for version in group["versions"]} | {"v1"}
    taken = 0
    for item in render(CHART, WEBHOOK, namespace=empty.namespace):
        if item["apiVersion"] in versions:  # policy/v1 came with 1.21
            await apply(empty.api, item, dryRun="All")
            taken += 1
    assert taken >= 10


async def test_the_charts_rights_are_enough(
    empty: Cluster, run_operator: Runner, kubeconfig: str, tmp_path: Path
) -> None:
    name = f"op-{empty.namespace}"
    found = render(CHART, {}, release=name, namespace=empty.namespace)
    for item in found:
        if item["kind"] in ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"):
            await apply(empty.api, item)
    secret: Raw = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {
            "name": "token",
            "namespace": empty.namespace,
            "annotations": {"kubernetes.io/service-account.name": name},
        },
    }
    await apply(empty.api, secret)

    async def token() -> str:
        return str((await empty.api.request("GET", path_of(secret))).get("data", {}).get("token", ""))

    await until(token)
    limited = with_token(kubeconfig, base64.b64decode(await token()).decode(), tmp_path)
    flags = ["--kubeconfig", limited, "--lease-namespace", empty.namespace]
    process = run_operator(*flags, "--http-port", str(free_port()), name="limited")
    roles = (role("a", scalingAdapter={"enable": True}), role("web", workload=DEPLOYMENT, dependencies=["a"]))
    await empty.group("g", *roles, podGroupPolicy={"kubeScheduling": {}})
    await empty.write("RoleBasedGroupSet", "s", {"template": {"roles": [role("a")]}})
    await empty.ready("g")
    await empty.ready("s", "RoleBasedGroupSet")
    await empty.group("g", role("a"))
    await empty.ready("g")
    process.terminate()
    assert await asyncio.to_thread(process.wait, 20) == 0
    log = process.log.read_text()  # type: ignore[attr-defined]
    assert "forbidden" not in log.lower(), log


def with_token(kubeconfig: str, token: str, folder: Path) -> str:
    """The same cluster, as another user."""
    config = yaml.safe_load(Path(kubeconfig).read_text())
    [user] = config["users"]
    user["user"] = {"token": token}
    (folder / "limited").write_text(yaml.safe_dump(config))
    return str(folder / "limited")
