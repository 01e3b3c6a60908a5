"""`tandem deploy` on a real API server: everything rendered is taken, and one service from apply to delete."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from tests.deploy.builders import document, example
from tests.deploy.variants import variants
from tests.kube.cluster import Cluster

from tandem.cli.deploy_cluster import KubeCluster
from tandem.deploy.description import Description
from tandem.deploy.guide import render_like_the_guide
from tandem.deploy.render import render
from tandem.deploy.service import survey

VARIANTS = variants()
ENVIRON = {"OSS_ACCESS_KEY_ID": "id", "OSS_ACCESS_KEY_SECRET": "secretword"}


def here(wish: Description, namespace: str) -> Description:
    return msgspec.structs.replace(wish, namespace=namespace)


def random_hex(count: int) -> str:
    return "0" * 2 * count


async def secrets_there(cluster: Cluster, *names: str) -> None:
    """Those that a person would have made."""
    for name in names:
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {}}
        body["stringData"] = {"username": "u", "password": "p", "keys.yaml": "keys: []"}
        await cluster.api.create(f"/api/v1/namespaces/{cluster.namespace}/secrets", body)


@pytest.mark.parametrize("name", VARIANTS)
async def test_the_servers_dry_run_takes_everything(name: str, empty: Cluster) -> None:
    """Server-side apply refuses fields and types that the server does not know."""
    await secrets_there(empty, "nats-login", "etcd-login", "keys", "registry", "hub")
    kube = KubeCluster(empty.api)
    wish = here(VARIANTS[name], empty.namespace)
    steps = render(wish, minor=await kube.minor())
    plan = await survey(kube, wish, steps, environ=ENVIRON, random_hex=random_hex)
    assert list(plan.faults) == []
    assert len(plan.changes) == sum(len(step.objects) for step in steps)
    assert {change.verb for change in plan.changes} == {"create"}


async def test_it_takes_the_guides_set_too(empty: Cluster) -> None:
    kube = KubeCluster(empty.api)
    wish = here(example("guide"), empty.namespace)
    plan = await survey(kube, wish, render_like_the_guide(wish), environ=ENVIRON, random_hex=random_hex)
    assert list(plan.faults) == []


async def secret_of(cluster: Cluster, name: str = "qwen-nats") -> dict[str, Any]:
    return await cluster.api.request("GET", f"/api/v1/namespaces/{cluster.namespace}/secrets/{name}")


class Tandem:
    """The command line, with a description in a file."""

    def __init__(self, kubeconfig: str, folder: Path) -> None:
        self._kubeconfig, self._file = kubeconfig, folder / "service.yaml"
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(("OSS_", "KUBE"))}

    def describe(self, **changes: Any) -> None:
        self._file.write_text(yaml.safe_dump(document(**changes)))

    async def __call__(self, verb: str, *flags: str) -> tuple[int, str, str]:
        words = [sys.executable, "-m", "tandem.cli.main", "deploy", verb, "-f", str(self._file)]
        words += ["--kubeconfig", self._kubeconfig, *flags]
        pipe = subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*words, env=self.env, stdout=pipe, stderr=pipe)
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()


@pytest.fixture
def tandem(kubeconfig: str, tmp_path: Path) -> Tandem:
    return Tandem(kubeconfig, tmp_path)


NFS = {"kind": "nfs", "server": "nas", "path": "/m"}


async def test_a_service_from_apply_to_delete(cluster: Cluster, tandem: Tandem) -> None:
    space = {"namespace": cluster.namespace, "model__storage": NFS}
    tandem.describe(**space)
    assert (await tandem("diff"))[0] == 1
    code, out, err = await tandem("apply", "--timeout", "60")
    assert code == 0, (out, err)
    assert "+ create    RoleBasedGroup qwen" in out
    assert "processor 1/1, prefill 1/1, decoder 1/1" in out.replace("qwen-etcd 3/3, qwen-nats 1/1, ", "")
    assert "ready; try it:" in out
    secret = await secret_of(cluster)
    assert set(secret["data"]) == {"username", "password"}

    code, out, err = await tandem("diff")
    assert (code, out) == (0, ""), err
    code, out, _ = await tandem("status", "--json")
    assert code == 0
    assert json.loads(out)["ready"] is True

    tandem.describe(**space, roles__decoder={"replicas": 2}, planes={"nats": {"server": "nats://elsewhere:4222"}})
    code, out, err = await tandem("diff")
    assert code == 1
    assert "+    replicas: 2" in out
    assert "StatefulSet qwen-nats is described no longer: --prune deletes it" in err
    code, out, err = await tandem("apply", "--prune", "--no-wait")
    assert code == 0, err
    assert await cluster.get("StatefulSet", "qwen-nats") is None
    assert (await secret_of(cluster))["data"] == secret["data"]

    code, out, err = await tandem("delete")
    assert (code, "--yes deletes without asking" in err) == (2, True)
    assert await cluster.get("RoleBasedGroup", "qwen") is not None
    code, out, err = await tandem("delete", "--yes")
    assert code == 0, err
    assert "keep      PersistentVolumeClaim qwen-model" in out
    assert await cluster.get("RoleBasedGroup", "qwen") is None
    code, out, err = await tandem("delete", "--yes", "--volumes")
    assert code == 0, err
    left = await cluster.api.request("GET", f"/api/v1/namespaces/{cluster.namespace}/persistentvolumeclaims")
    assert all(item["metadata"].get("deletionTimestamp") for item in left["items"])


async def test_what_the_server_refuses_changes_nothing(empty: Cluster, tandem: Tandem) -> None:
    tandem.describe(
        namespace=empty.namespace,
        model__storage=NFS,
        roles__decoder={"env": {"not a name": "x"}},
        front={"keys-secret": "k"},
    )
    code, out, err = await tandem("apply")
    assert code == 1, out
    assert "there is no Secret k" in err
    assert "nothing was changed" in err
    assert await empty.names("Service") == []
    assert await empty.names("RoleBasedGroup") == []


async def test_objects_of_others_are_left_alone(empty: Cluster, tandem: Tandem) -> None:
    port = {"name": "http", "port": 8000, "protocol": "TCP"}
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "qwen"}, "spec": {"ports": [port]}}
    await empty.api.create(f"/api/v1/namespaces/{empty.namespace}/services", body)
    tandem.describe(namespace=empty.namespace)
    code, _, err = await tandem("apply", "--no-wait")
    assert (code, "made by somebody else: Service qwen" in err) == (1, True), err
    assert await empty.names("StatefulSet") == []
    code, out, err = await tandem("delete", "--yes")
    assert "! not ours  Service qwen" in out
    assert await empty.names("Service") == ["qwen"]


async def test_a_service_that_is_not_ready_says_why(cluster: Cluster, tandem: Tandem) -> None:
    """The node holds the decoder back, as a scheduler without a GPU would."""
    cluster.held = lambda pod: "decoder" in pod["metadata"]["name"]
    tandem.describe(namespace=cluster.namespace)
    code, out, err = await tandem("apply", "--timeout", "6")
    assert code == 1
    assert "not ready after 6 s" in err
    assert "PersistentVolumeClaim weights: is not there" in err
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
    }
    await cluster.report("qwen-decoder-0", {"conditions": [condition]})
    code, out, _ = await tandem("status")
    assert code == 1
    assert "pod qwen-decoder-0: no GPU node: " in out


async def test_a_namespace_that_is_not_there_is_said_first(empty: Cluster, tandem: Tandem) -> None:
    tandem.describe(namespace="nowhere")
    code, _, err = await tandem("apply")
    assert (code, "there is no namespace nowhere" in err) == (1, True)
    assert (await tandem("diff"))[0] == 2
