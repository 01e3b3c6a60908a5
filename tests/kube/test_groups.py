"""Groups on a real API server: the guide's file, and the life of a group after it."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.kube.cluster import Cluster, until
from tests.operator.builders import DEPLOYMENT, LWS, pod, role
from tests.tools import tool

from tandem.core.paths import at
from tandem.operator import labels
from tandem.operator.api import JSON_PATCH, url_of
from tandem.operator.crds import as_yaml, crds
from tandem.operator.types import Raw

GUIDE = Path(__file__).parents[2] / "deploy" / "guide"


def the_guides_group() -> Raw:
    found: Raw = yaml.safe_load((GUIDE / "05-dynamo.yaml").read_text())
    for item in found["spec"]["roles"]:
        item["template"]["spec"]["containers"][0]["image"] = "tandem"
    return found


async def test_the_guides_file_as_it_stands(cluster: Cluster) -> None:
    document = the_guides_group()
    document["metadata"]["namespace"] = cluster.namespace
    await cluster.api.create(url_of("RoleBasedGroup", cluster.namespace), document)
    await cluster.ready("dynamo-pd")
    sizes = {
        name: (await cluster.must("StatefulSet", name))["spec"]["replicas"]
        for name in await cluster.names("StatefulSet")
    }
    assert sizes == {"dynamo-pd-decoder": 1, "dynamo-pd-prefill": 2, "dynamo-pd-processor": 1}
    found = (await cluster.must("Pod", "dynamo-pd-processor-0"))["metadata"]["labels"]
    service = yaml.safe_load((GUIDE / "06-service.yaml").read_text())
    assert service["spec"]["selector"].items() <= found.items()
    container = (await cluster.must("Pod", "dynamo-pd-prefill-1"))["spec"]["containers"][0]
    wanted = document["spec"]["roles"][1]["template"]["spec"]["containers"][0]
    assert [e for e in container["env"] if e in wanted["env"]] == wanted["env"]
    assert container["command"] == wanted["command"]
    assert (await cluster.must("RoleBasedGroup", "dynamo-pd"))["metadata"].get("finalizers") is None


async def test_dependencies_gate_the_start(cluster: Cluster) -> None:
    cluster.held = lambda pod: "-a-" in pod["metadata"]["name"]
    await cluster.group("g", role("a"), role("b", dependencies=["a"]), role("free"))
    await until(lambda: cluster.get("StatefulSet", "g-free"))
    found = await cluster.not_ready("g")
    await until(lambda: _says(cluster, "g", "role a: 0/1 ready; role b: waiting for a"))
    assert found["reason"] == "RoleNotReady"
    assert await cluster.get("StatefulSet", "g-b") is None
    cluster.held = lambda pod: False
    await cluster.ready("g")
    assert await cluster.events("g") == ["DependencyNotMet", "Succeed"]


async def _says(cluster: Cluster, name: str, message: str) -> bool:
    return (await cluster.condition("RoleBasedGroup", name)).get("message") == message


@pytest.mark.timeout(180)
async def test_deleting_a_group_takes_all_of_it_along(cluster: Cluster) -> None:
    await cluster.group("g", role("a"), role("web", workload=DEPLOYMENT), role("w", workload=LWS))
    await until(lambda: cluster.get("LeaderWorkerSet", "g-w"))
    await until(lambda: cluster.get("Pod", "g-a-0"))
    await cluster.delete("RoleBasedGroup", "g")

    async def left() -> list[str]:
        kinds = ("StatefulSet", "Deployment", "LeaderWorkerSet", "Service", "Pod", "ControllerRevision", "ConfigMap")
        named = [f"{kind}/{name}" for kind in kinds for name in await cluster.names(kind)]
        return [each for each in named if each.partition("/")[2].startswith("g")]

    async def gone() -> bool:
        return not await left()

    # Kubernetes' garbage collector learns of new kinds every 30 s, and collects nothing until it has heard from all.
    await until(gone, left, limit_s=120)


async def test_edited_and_deleted_children_come_back(cluster: Cluster) -> None:
    await cluster.group("g", role("a", replicas=2))
    await cluster.ready("g")
    await cluster.patch("StatefulSet", "g-a", {"op": "replace", "path": "/spec/replicas", "value": 5})
    await cluster.patch("ConfigMap", "g-a", {"op": "replace", "path": "/data/config.yaml", "value": "mine"})
    await cluster.delete("Service", "s-g-a")

    async def restored() -> bool:
        workload, config = await cluster.must("StatefulSet", "g-a"), await cluster.must("ConfigMap", "g-a")
        mended = workload["spec"]["replicas"] == 2 and config["data"]["config.yaml"] != "mine"
        return mended and await cluster.get("Service", "s-g-a") is not None

    await until(restored)


async def test_what_somebody_adds_to_a_child_goes_again_and_a_restart_by_kubectl_stays(cluster: Cluster) -> None:
    await cluster.group("g", role("a"))
    await cluster.ready("g")
    template, mark = "/spec/template/spec/containers", {"kubectl.kubernetes.io/restartedAt": "now"}
    edits: list[tuple[str, str, str, Any]] = [
        ("StatefulSet", "g-a", f"{template}/-", {"name": "more", "image": "x"}),
        ("StatefulSet", "g-a", f"{template}/0/env/-", {"name": "MORE", "value": "1"}),
        ("StatefulSet", "g-a", f"{template}/0/command", ["other"]),
        ("StatefulSet", "g-a", "/spec/template/metadata/annotations", mark),
        ("Service", "s-g-a", "/spec/selector/more", "x"),
    ]
    for kind, name, path, value in edits:
        steps, where = [{"op": "add", "path": path, "value": value}], url_of(kind, cluster.namespace, name)
        await cluster.api.request("PATCH", where, steps, params={"fieldManager": "kubectl-edit"}, content=JSON_PATCH)

    async def restored() -> bool:
        pod_template = (await cluster.must("StatefulSet", "g-a"))["spec"]["template"]
        selector = (await cluster.must("Service", "s-g-a"))["spec"]["selector"]
        names = [container["name"] for container in pod_template["spec"]["containers"]]
        left = {"MORE", "command", "more"} & {
            *(variable["name"] for variable in pod_template["spec"]["containers"][0]["env"]),
            *pod_template["spec"]["containers"][0],
            *selector,
        }
        return names == ["main"] and not left

    await until(restored)
    await cluster.ready("g")
    assert (await cluster.must("StatefulSet", "g-a"))["spec"]["template"]["metadata"]["annotations"] == mark


async def test_foreign_namesakes_are_left_alone_and_named(cluster: Cluster) -> None:
    spec = {"selector": {"app": "mine"}, "ports": [{"port": 80}]}
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s-g-a"}, "spec": spec}
    await cluster.api.create(url_of("Service", cluster.namespace), body)
    await cluster.group("g", role("a"), role("b"))
    await until(
        lambda: _says(cluster, "g", "role a: Service s-g-a exists and is not this group's: delete or rename it")
    )
    assert (await cluster.must("Service", "s-g-a"))["spec"]["selector"] == {"app": "mine"}
    assert await cluster.get("StatefulSet", "g-b") is not None
    await cluster.delete("Service", "s-g-a")
    await cluster.group("g", role("a"), role("b", minReadySeconds=0, replicas=2))
    await cluster.ready("g")


async def test_a_role_that_is_gone_is_cleaned_up(cluster: Cluster) -> None:
    await cluster.group("g", role("a"), role("b"))
    await cluster.ready("g")
    await cluster.group("g", role("a"))
    await until(lambda: _none(cluster, "StatefulSet", "g-b"))
    await until(lambda: _none(cluster, "Service", "s-g-b"))
    await cluster.ready("g")
    status = (await cluster.must("RoleBasedGroup", "g"))["status"]
    assert [item["name"] for item in status["roleStatuses"]] == ["a"]


async def _none(cluster: Cluster, kind: str, name: str) -> bool:
    return await cluster.get(kind, name) is None


async def test_what_slips_past_admission_becomes_a_condition(cluster: Cluster) -> None:
    await cluster.group("g", role("a"))
    await cluster.ready("g")
    before = (await cluster.must("StatefulSet", "g-a"))["metadata"]["resourceVersion"]
    await cluster.group("g", role("a", dependencies=["x"]))
    found = await cluster.not_ready("g")
    assert found["reason"] == "InvalidSpec"
    assert found["message"] == 'spec.roles[0].dependencies: role "a" depends on "x", which is not in the group (a)'
    assert (await cluster.must("StatefulSet", "g-a"))["metadata"]["resourceVersion"] == before
    await cluster.group("g", role("a"))
    await cluster.ready("g")


async def test_a_template_the_server_refuses_is_told_with_its_words(cluster: Cluster) -> None:
    bad = pod(restartPolicy="Never")
    await cluster.group("g", role("a", template=bad), role("b"))

    async def told() -> bool:
        return 'Unsupported value: "Never"' in (await cluster.condition("RoleBasedGroup", "g")).get("message", "")

    await until(told, lambda: cluster.condition("RoleBasedGroup", "g"))
    assert await cluster.get("StatefulSet", "g-b") is not None


async def test_kinds_of_others(cluster: Cluster) -> None:
    policy: Raw = {"kubeScheduling": {}}
    lws = {"size": 2, "patchLeaderTemplate": {"metadata": {"labels": {"lead": "1"}}}}
    await cluster.group("g", role("w", replicas=2, workload=LWS, leaderWorkerSet=lws), podGroupPolicy=policy)
    await until(lambda: cluster.get("LeaderWorkerSet", "g-w"))
    made = (await cluster.must("LeaderWorkerSet", "g-w"))["spec"]["leaderWorkerTemplate"]
    assert made["leaderTemplate"]["metadata"]["labels"]["lead"] == "1"
    path = f"/apis/scheduling.x-k8s.io/v1alpha1/namespaces/{cluster.namespace}/podgroups/g"
    assert (await cluster.api.request("GET", path))["spec"] == {"minMember": 4, "scheduleTimeoutSeconds": 60}
    ready = {"replicas": 2, "readyReplicas": 2, "updatedReplicas": 2}
    status = {"status": {**ready, "conditions": [{"type": "Available", "status": "True"}]}}
    await cluster.api.patch(f"{url_of('LeaderWorkerSet', cluster.namespace, 'g-w')}/status", status)
    await cluster.ready("g")


async def test_profiles_join_and_are_watched(cluster: Cluster) -> None:
    name = f"p-{cluster.namespace}"
    await cluster.group("g", role("a", engineRuntimes=[{"profileName": name}]))
    assert "does not exist" in (await cluster.not_ready("g"))["message"]
    await cluster.write("ClusterEngineRuntimeProfile", name, {"containers": [{"name": "side", "image": "x"}]})
    await cluster.ready("g")
    containers = (await cluster.must("Pod", "g-a-0"))["spec"]["containers"]
    assert [item["name"] for item in containers] == ["main", "side"]
    assert at(containers[1], "env")[0]["name"] == "GROUP_NAME"
    await cluster.api.request("DELETE", url_of("ClusterEngineRuntimeProfile", None, name))


async def test_an_edited_annotation_alone_is_seen(cluster: Cluster) -> None:
    await cluster.group("g", role("a"))
    await cluster.ready("g")
    generation = (await cluster.must("RoleBasedGroup", "g"))["metadata"]["generation"]
    await cluster.group("g", role("a"), annotations={labels.GANG: "true"})
    path = f"/apis/scheduling.x-k8s.io/v1alpha1/namespaces/{cluster.namespace}/podgroups"
    await until(lambda: _any(cluster, path))
    assert (await cluster.must("RoleBasedGroup", "g"))["metadata"]["generation"] == generation
    await cluster.group("g", role("a"))
    await until(lambda: _none_at(cluster, path))


async def _any(cluster: Cluster, path: str) -> bool:
    return bool((await cluster.api.request("GET", path))["items"])


async def _none_at(cluster: Cluster, path: str) -> bool:
    return not await _any(cluster, path)


@pytest.mark.skipif(tool("kubectl") is None, reason="no kubectl for this machine")
async def test_plain_kubectl_apply_takes_the_definitions_and_a_group(
    cluster: Cluster, kubeconfig: str, tmp_path: Path
) -> None:
    """Client-side apply keeps what it wrote in an annotation, which may have 256 KiB."""

    async def kubectl(*words: str) -> str:
        command = [str(tool("kubectl")), "--kubeconfig", kubeconfig, "-n", cluster.namespace, *words]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    await kubectl("apply", "--validate=false", "-f", str(GUIDE.parent / "crds"))
    document = the_guides_group()
    document["metadata"]["namespace"] = cluster.namespace
    file = tmp_path / "group.yaml"
    file.write_text(yaml.safe_dump(document))
    assert "dynamo-pd created" in await kubectl("apply", "--validate=false", "-f", str(file))
    await cluster.ready("dynamo-pd")
    before = (await cluster.must("RoleBasedGroup", "dynamo-pd"))["metadata"]["generation"]
    await kubectl("apply", "--validate=false", "-f", str(file))
    assert (await cluster.must("RoleBasedGroup", "dynamo-pd"))["metadata"]["generation"] == before
    assert (await kubectl("get", "rbg")).split()[:5] == ["NAME", "READY", "AGE", "dynamo-pd", "True"]
    wait = await kubectl("wait", "rbg/dynamo-pd", "--for=condition=Ready", "--timeout=5s")
    assert "condition met" in wait


@pytest.mark.skipif(tool("kubectl") is None, reason="no kubectl for this machine")
async def test_our_definitions_take_the_place_of_upstreams_with_what_is_stored(
    empty: Cluster, kubeconfig: str, tmp_path: Path
) -> None:
    """Upstream's, from v0.7 on, store v1alpha2 and ask a webhook to convert, which goes with its operator.

    Under another group's name, since the other tests need their own.
    """

    def definition(**spec: Any) -> str:
        ours = crds()["rolebasedgroups"]
        foreign = f"upstream-{empty.namespace}.test"
        found = {**ours, "metadata": {"name": f"rolebasedgroups.{foreign}"}}
        found["spec"] = {**ours["spec"], "group": foreign, **spec}
        file = tmp_path / "crd.yaml"
        file.write_text(as_yaml(found))
        return str(file)

    async def kubectl(*words: str) -> tuple[int, str]:
        command = [str(tool("kubectl")), "--kubeconfig", kubeconfig, "-n", empty.namespace, *words]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    async def does(*words: str) -> bool:
        return (await kubectl(*words))[0] == 0

    versions = [{**each, "storage": not each["storage"]} for each in crds()["rolebasedgroups"]["spec"]["versions"]]
    assert await does("create", "-f", definition(versions=versions))
    body = {"roles": [{"name": "a", "standalonePattern": {"template": pod()}}]}
    group = {"apiVersion": f"upstream-{empty.namespace}.test/v1alpha2", "kind": "RoleBasedGroup", "spec": body}
    (tmp_path / "group.yaml").write_text(yaml.safe_dump({**group, "metadata": {"name": "old"}}))
    await until(lambda: does("create", "--validate=false", "-f", str(tmp_path / "group.yaml")))
    called = {"service": {"name": "gone", "namespace": empty.namespace}}
    webhook = {"conversionReviewVersions": ["v1"], "clientConfig": called}
    asking = definition(versions=versions, conversion={"strategy": "Webhook", "webhook": webhook})
    assert await does("replace", "-f", asking)
    read = ("get", f"rolebasedgroups.v1alpha1.upstream-{empty.namespace}.test", "old", "-o", "yaml")

    async def fails() -> bool:
        return "conversion webhook" in (await kubectl(*read))[1]

    await until(fails)
    assert not await does("apply", "-f", definition()), "as the page says"
    assert await does("replace", "-f", definition())
    await until(lambda: does(*read))
    assert "standalonePattern" in (await kubectl(*read))[1]
    assert await does("delete", "-f", definition())


async def test_patterns_of_v1alpha2_through_its_own_endpoint(cluster: Cluster) -> None:
    """Either version reads what the other wrote, word for word: nothing is converted."""
    roles = [
        {"name": "one", "replicas": 2, "standalonePattern": {"template": pod()}},
        {"name": "ranks", "leaderWorkerPattern": {"size": 2, "template": pod(), "workerTemplatePatch": {}}},
        {
            "name": "kept",
            "annotations": {labels.WORKLOAD_TYPE: "apps/v1/Deployment"},
            "standalonePattern": {"template": pod()},
        },
    ]
    body = {"apiVersion": f"{labels.GROUP}/v1alpha2", "kind": "RoleBasedGroup", "metadata": {"name": "g"}}
    path = f"/apis/{labels.GROUP}/v1alpha2/namespaces/{cluster.namespace}/rolebasedgroups"
    await cluster.api.create(path, {**body, "spec": {"roles": roles}})
    await until(lambda: cluster.get("LeaderWorkerSet", "g-ranks"))
    await until(lambda: cluster.get("Deployment", "g-kept"))
    assert (await cluster.must("StatefulSet", "g-one"))["spec"]["replicas"] == 2
    counts = {"replicas": 1, "readyReplicas": 1, "updatedReplicas": 1}
    status = {"status": {**counts, "conditions": [{"type": "Available", "status": "True"}]}}
    await cluster.api.patch(f"{url_of('LeaderWorkerSet', cluster.namespace, 'g-ranks')}/status", status)
    await cluster.ready("g")
    newer = await cluster.api.request("GET", f"{path}/g")
    older = await cluster.must("RoleBasedGroup", "g")
    assert newer["spec"] == older["spec"]
    assert newer["status"]["conditions"] == older["status"]["conditions"]
