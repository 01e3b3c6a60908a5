"""Admission by URL, as an operator outside the cluster does it; and `tandem rbg` on a real history."""

import asyncio
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import httpx
import pytest
from tests.kube.cluster import Cluster, until
from tests.kube.conftest import free_port
from tests.kube.test_changes import rolling
from tests.operator.builders import pod, role

from tandem.operator.api import ApiError
from tandem.operator.labels import GROUP
from tandem.operator.types import Raw

Runner = Callable[..., "subprocess.Popen[bytes]"]
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


@pytest.fixture(scope="module")
def guarded(run_operator: Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator["subprocess.Popen[bytes]"]:
    """An operator with an admission server, whose certificate the API server is told to trust."""
    folder: Path = tmp_path_factory.mktemp("webhook")
    certificate(folder)
    flags = ["--webhook-port", str(free_port()), "--webhook-url-host", "127.0.0.1"]
    flags += ["--webhook-cert", str(folder / "cert.pem"), "--webhook-key", str(folder / "key.pem")]
    process = run_operator(*flags, "--webhook-ca", str(folder / "cert.pem"), name="guarded")
    yield process
    process.terminate()
    assert process.wait(20) == 0


def certificate(folder: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=webhook"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


_numbers = count()


async def refused(cluster: Cluster) -> str:
    try:
        await cluster.group(f"bad-{next(_numbers)}", role("a", dependencies=["x"]))
    except ApiError as error:
        return str(error)
    return ""


async def test_a_bad_group_is_refused_with_path_and_fix(empty: Cluster, guarded: "subprocess.Popen[bytes]") -> None:
    await until(lambda: refused(empty), limit_s=30)
    message = await refused(empty)
    assert 'spec.roles[0].dependencies: role "a" depends on "x", which is not in the group (a)' in message
    found = (await empty.api.request("GET", CONFIGURATIONS))["items"]
    ours = [hook for item in found if item["metadata"]["name"].startswith("tandem") for hook in item["webhooks"]]
    assert {hook["failurePolicy"] for hook in ours} == {"Ignore"}
    with pytest.raises(ApiError, match=r"spec\.template\.roles"):
        await empty.write("RoleBasedGroupSet", "s", {"template": {"roles": [role("a", dependencies=["a"])]}})
    newer = {"apiVersion": f"{GROUP}/v1alpha2", "kind": "RoleBasedGroup", "metadata": {"name": "newer"}}
    alone = {"name": "a", "standalonePattern": {"template": pod()}, "dependencies": ["x"]}
    with pytest.raises(ApiError, match=r"spec\.roles\[0\]\.dependencies"):
        await empty.api.create(
            f"/apis/{GROUP}/v1alpha2/namespaces/{empty.namespace}/rolebasedgroups",
            {**newer, "spec": {"roles": [alone]}},
        )
    await empty.group("good", role("a"))
    await empty.ready("good")


async def test_a_replica_that_stands_by_answers_admission_too(
    empty: Cluster, run_operator: Runner, tmp_path: Path
) -> None:
    flags = ["--namespace", empty.namespace, "--lease-namespace", empty.namespace]
    leader = run_operator(*flags, name="leader")
    await until(lambda: logged(leader, "operator.ready"))
    port = free_port()
    certificate(tmp_path)
    hooks = ["--webhook-port", str(port), "--webhook-cert", str(tmp_path / "cert.pem")]
    standby = run_operator(*flags, *hooks, "--webhook-key", str(tmp_path / "key.pem"), name="standby")
    await until(lambda: logged(standby, "leader.standby"))
    trust = ssl.create_default_context(cafile=tmp_path / "cert.pem")

    async def verdict(*roles: Raw, old: Raw | None = None) -> Raw:
        metadata = {"name": "g", "namespace": empty.namespace, "uid": "1"}
        item: Raw = {"apiVersion": f"{GROUP}/v1alpha1", "kind": "RoleBasedGroup", "metadata": metadata}
        where = {"group": GROUP, "version": "v1alpha1", "resource": "rolebasedgroups"}
        request = {"uid": "1", "kind": {}, "resource": where, "operation": "CREATE", "userInfo": {}}
        request |= {"name": "g", "namespace": empty.namespace, "object": {**item, "spec": {"roles": [*roles]}}}
        if old is not None:
            request |= {"operation": "UPDATE", "oldObject": {**item, "spec": {"roles": [old]}}}
        body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
        async with httpx.AsyncClient(verify=trust) as client:
            answer = await client.post(f"https://127.0.0.1:{port}/rolebasedgroups", json=body)
        told.append(answer.text)
        found: Raw = answer.json()["response"] if answer.is_success else {}
        return found

    told: list[str] = []

    async def refuses() -> bool:
        try:
            return (await verdict(role("a", dependencies=["x"]))).get("allowed") is False
        except httpx.TransportError as error:
            told.append(repr(error))
            return False

    async def what_it_said() -> list[str]:
        return told[-1:]

    await until(refuses, what_it_said, limit_s=20)
    assert (await verdict(role("a")))["allowed"] is True
    slipped = role("a", dependencies=["x"])  # while the webhook was down; its labels may still be changed
    assert (await verdict(slipped, old=slipped))["allowed"] is True
    assert (await verdict(slipped, old=role("a")))["allowed"] is False
    for process in (standby, leader):
        process.terminate()
        assert await asyncio.to_thread(process.wait, 20) == 0


async def logged(process: "subprocess.Popen[bytes]", text: str) -> bool:
    return text in process.log.read_text()  # type: ignore[attr-defined]


async def test_history_diff_and_undo(empty: Cluster, guarded: "subprocess.Popen[bytes]", kubeconfig: str) -> None:
    async def rbg(*words: str) -> str:
        flags = ["--kubeconfig", kubeconfig, "-n", empty.namespace]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tandem.cli.main", "rbg", *words, *flags, stdout=-1, stderr=-1
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()

    for image in ("one", "two"):
        await empty.group("g", rolling(image, 1))
        await empty.ready("g")
    await empty.group("g", rolling("two", 2))
    await empty.ready("g")
    assert [line.split()[-1] for line in (await rbg("history", "g")).splitlines()] == ["Revision", "1", "2"]
    assert "+      - image: one" in await rbg("rollout", "diff", "g", "--revision", "1")
    assert "image: one" in await rbg("undo", "g", "--dry-run")
    assert await rbg("undo", "g") == "rbg g rollback to revision 1 successfully\n"
    await empty.ready("g")
    found = await empty.must("StatefulSet", "g-a")
    assert (found["spec"]["template"]["spec"]["containers"][0]["image"], found["spec"]["replicas"]) == ("one", 2)
    assert "∑ Summary: 1 roles | 2/2 Ready" in await rbg("status", "g")
