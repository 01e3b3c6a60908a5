"""What is seen in a cluster becomes a sentence: one row per thing that goes wrong."""

from typing import Any

import pytest

from tandem.deploy.diagnosis import diagnose
from tandem.deploy.look import Look, all_ready
from tandem.deploy.objects import Object
from tandem.deploy.progress import plain_line, pod_state, role_rows

GROUP: Object = {
    "metadata": {"name": "qwen", "generation": 2},
    "spec": {"roles": [{"name": "decoder", "replicas": 2}]},
    "status": {
        "observedGeneration": 2,
        "conditions": [
            {"type": "Ready", "status": "False", "reason": "RolesNotReady", "message": "role decoder: 0/2 ready"}
        ],
    },
}


def pod(name: str = "qwen-decoder-0", *, role: str = "decoder", gpus: str = "2", **status: Any) -> Object:
    amounts = {"cpu": "12", "memory": "50Gi", "nvidia.com/gpu": gpus}
    container = {"name": "decoder", "image": "tandem:1", "resources": {"requests": amounts, "limits": amounts}}
    labels = {"app.kubernetes.io/component": role}
    return {"metadata": {"name": name, "labels": labels}, "spec": {"containers": [container]}, "status": status}


def waiting(reason: str, message: str = "") -> Object:
    state = {"waiting": {"reason": reason, "message": message}}
    return pod(phase="Pending", containerStatuses=[{"name": "decoder", "image": "tandem:1", "state": state}])


def ended(message: str, *, code: int = 1, reason: str = "Error", restarts: int = 3) -> Object:
    last = {"terminated": {"exitCode": code, "reason": reason, "message": message}}
    status = {
        "name": "decoder",
        "restartCount": restarts,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": last,
    }
    return pod(phase="Running", containerStatuses=[status])


def unscheduled(message: str) -> Object:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return pod(phase="Pending", conditions=[condition])


def event(kind: str, name: str, reason: str, message: str) -> Object:
    return {"involvedObject": {"kind": kind, "name": name}, "reason": reason, "message": message}


def node(gpus: int) -> Object:
    return {"status": {"allocatable": {"nvidia.com/gpu": str(gpus)} if gpus else {}}}


def claim(**status: Any) -> Object:
    spec = {"storageClassName": "fast", "resources": {"requests": {"storage": "30Gi"}}}
    return {"metadata": {"name": "qwen-model"}, "spec": spec, "status": status}


NO_GPU = unscheduled("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.")
MOUNT = {"pods": [pod(phase="Pending", containerStatuses=[])]}


def mount(message: str) -> dict[str, Any]:
    return {**MOUNT, "events": [event("Pod", "qwen-decoder-0", "FailedMount", message)]}


CASES: list[tuple[str, dict[str, Any], str]] = [
    ("no namespace", {"namespace_there": False}, "namespace default: is not there"),
    ("no CRD", {"group_served": False}, "this cluster does not know the kind: its CRD is not installed"),
    ("nothing applied", {"group": None}, "RoleBasedGroup qwen: is not there"),
    ("no operator", {"group": {**GROUP, "status": {}}}, "no operator has looked at it"),
    (
        "operator gone",
        {"group": {**GROUP, "metadata": {"name": "qwen", "generation": 3}}},
        "the operator has not looked at the newest change",
    ),
    (
        "a group that cannot be built",
        {
            "group": {
                **GROUP,
                "status": {
                    "conditions": [
                        {"type": "Ready", "status": "False", "reason": "InvalidSpec", "message": "spec.roles: a circle"}
                    ]
                },
            }
        },
        "RoleBasedGroup qwen: spec.roles: a circle",
    ),
    (
        "no node has a GPU",
        {"pods": [NO_GPU], "nodes": [node(0)]},
        "it needs 2 nvidia.com/gpu, and no node of the cluster",
    ),
    ("no node has enough", {"pods": [NO_GPU], "nodes": [node(1)]}, "the largest has 1 -> lower gpus"),
    ("all GPUs taken", {"pods": [NO_GPU], "nodes": [node(8)]}, "all nvidia.com/gpu are taken; it needs 2 on one node"),
    ("nodes may not be read", {"pods": [NO_GPU], "nodes": None}, "no GPU node: no node has 2 nvidia.com/gpu free"),
    ("no memory", {"pods": [unscheduled("0/3 nodes: 3 Insufficient memory.")]}, "no node has 50Gi memory free"),
    (
        "taints",
        {"pods": [unscheduled("1 node(s) had untolerated taint {nvidia.com/gpu: true}.")]},
        "the nodes are tainted",
    ),
    (
        "labels",
        {"pods": [unscheduled("3 node(s) didn't match Pod's node affinity/selector.")]},
        "no node has the labels that it asks for",
    ),
    (
        "a pod's claim is not there",
        {"pods": [unscheduled('persistentvolumeclaim "weights" not found')]},
        "its claim weights not found",
    ),
    ("no such claim", {"claims": {"weights": None}}, "PersistentVolumeClaim weights: is not there"),
    (
        "no StorageClass",
        {
            "claims": {"qwen-model": claim(phase="Pending")},
            "events": [
                event("PersistentVolumeClaim", "qwen-model", "X", 'storageclass.storage.k8s.io "fast" not found')
            ],
        },
        "unbound: there is no StorageClass fast",
    ),
    (
        "no provisioner can",
        {
            "claims": {"qwen-model": claim(phase="Pending")},
            "events": [
                event("PersistentVolumeClaim", "qwen-model", "ProvisioningFailed", "failed to provision volume: quota")
            ],
        },
        "unbound: failed to provision volume: quota",
    ),
    ("volume gone", {"claims": {"qwen-model": claim(phase="Lost")}}, "its volume None is gone"),
    (
        "no such image",
        {"pods": [waiting("ImagePullBackOff", "Back-off")]},
        "its image tandem:1 cannot be pulled: Back-off",
    ),
    (
        "a registry that refuses",
        {
            "pods": [waiting("ErrImagePull", "pull access denied")],
            "events": [event("Pod", "qwen-decoder-0", "Failed", "Failed to pull image: pull access denied")],
        },
        "Failed to pull image: pull access denied -> name a Secret in image-pull-secrets",
    ),
    (
        "no Secret",
        {"pods": [waiting("CreateContainerConfigError", 'secret "qwen-nats" not found')]},
        'cannot start: secret "qwen-nats" not found',
    ),
    (
        "killed for memory",
        {"pods": [ended("", code=137, reason="OOMKilled")]},
        "killed at its limit of 50Gi -> raise roles",
    ),
    (
        "model not found",
        {"pods": [ended("tandem serve: there is no model folder /models/Q")]},
        "model not found: /models/Q is empty or not mounted",
    ),
    ("an engine that still loads", {"pods": [pod(phase="Running")], "logs": {"qwen-decoder-0": "loading"}}, ""),
    (
        "GPU memory",
        {"pods": [ended("torch.OutOfMemoryError: CUDA out of memory. Tried …")]},
        "out of GPU memory -> lower",
    ),
    (
        "KV cache",
        {"pods": [ended("ValueError: To serve at least one request with the model's max seq len (32768) …")]},
        "not one request of max-model-len fits",
    ),
    (
        "the guide's sum",
        {
            "pods": [
                ended("VllmWorker: 65.5 GB of weights on 1 GPU of 34.4 GB (95% usable) cannot fit; with more GPUs: …")
            ]
        },
        "65.5 GB of weights on 1 GPU of 34.4 GB",
    ),
    (
        "a crash that nobody knows",
        {"pods": [ended("a\nthe last words")]},
        "ended 4 times with exit status 1: the last words",
    ),
    ("evicted", {"pods": [pod(phase="Failed", reason="Evicted", message="disk")]}, "was evicted: disk"),
    ("no bucket", mount("mount failed: NoSuchBucket"), "there is no such bucket -> correct model.storage.bucket"),
    ("wrong keys", mount("mount: InvalidAccessKeyId"), "the keys are wrong, or may not read the bucket"),
    ("no CSI driver", mount("driver name oss.csi not found in the list"), "needs the CSI driver oss.csi"),
    ("no such folder", mount("hostPath type check failed: /data is not a directory"), "the node has no such folder"),
    (
        "no NFS",
        mount("mount.nfs: access denied by server while mounting nas:/m"),
        "cannot be mounted: mount.nfs: access",
    ),
    ("a Secret of a volume", mount('secret "oss-secret" not found'), "there is no Secret oss-secret"),
    (
        "Fluid failed",
        {"datasets": [{"kind": "DataLoad", "metadata": {"name": "l"}, "status": {"phase": "Failed"}}]},
        "DataLoad l: is Failed",
    ),
    ("no Fluid", {"datasets": [{"kind": "Dataset", "metadata": {"name": "d"}}]}, "Fluid has not looked at it"),
    ("no etcd", {"expected_planes": ["qwen-etcd"]}, "StatefulSet qwen-etcd: is not there"),
    (
        "etcd without pods",
        {"planes": [{"kind": "StatefulSet", "metadata": {"name": "qwen-etcd"}, "spec": {"replicas": 3}, "status": {}}]},
        "none of its 3 pods has been made",
    ),
]


def look(**seen: Any) -> Look:
    return Look(namespace="default", name="qwen", wished={"decoder": 2}, **{"group": GROUP, **seen})


@pytest.mark.parametrize(("seen", "sentence"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_cause_has_its_sentence(seen: dict[str, Any], sentence: str) -> None:
    found = [str(finding) for finding in diagnose(look(**seen))]
    if sentence:
        assert any(sentence in line for line in found), found
    else:
        assert found == []
    assert not all_ready(look(**seen))


def test_an_engines_words_are_also_found_in_the_log_of_a_pod_that_still_runs() -> None:
    state = {"name": "decoder", "restartCount": 0, "state": {"running": {}}}
    one = pod(phase="Running", containerStatuses=[state])
    logs = {"qwen-decoder-0": "engine.failed there is no model folder /models/Q\nretrying"}
    [finding] = diagnose(look(pods=[one], logs=logs))
    assert "model not found" in finding.what
    assert "tandem models push" in finding.mend


def test_an_operator_and_who_gives_volumes_are_given_a_moment() -> None:
    claims = {"qwen-model": claim(phase="Pending")}
    assert diagnose(look(claims=claims, group_age_s=2.0)) == []
    assert diagnose(look(claims=claims, group_age_s=60.0)) != []
    fresh = {**GROUP, "status": {}}
    assert diagnose(look(group=fresh, group_age_s=2.0)) == []
    assert diagnose(look(group=fresh, group_age_s=60.0)) != []


def test_three_pods_that_wait_for_the_same_thing_are_one_sentence() -> None:
    pods = [{**NO_GPU, "metadata": {**NO_GPU["metadata"], "name": f"qwen-decoder-{i}"}} for i in range(3)]
    assert len(diagnose(look(pods=pods, nodes=[node(0)]))) == 1


def test_a_service_that_is_ready_has_nothing_wrong() -> None:
    ready = {"type": "Ready", "status": "True", "observedGeneration": 2}
    group = {**GROUP, "status": {"observedGeneration": 2, "conditions": [ready]}}
    well = look(group=group, pods=[pod(phase="Running", conditions=[{"type": "Ready", "status": "True"}])])
    assert diagnose(well) == []
    assert all_ready(well)
    assert not all_ready(look(group={**group, "metadata": {"name": "qwen", "generation": 3}}))


def test_the_table_says_what_each_pod_is_at() -> None:
    scheduled = {"type": "PodScheduled", "status": "True"}
    states = {
        "waiting for a node": NO_GPU,
        "ImagePullBackOff": waiting("ImagePullBackOff"),
        "starting": pod(phase="Pending", conditions=[scheduled]),
        "loading": pod(phase="Running", containerStatuses=[{"name": "d", "state": {"running": {}}}]),
        "ready": pod(phase="Running", conditions=[{"type": "Ready", "status": "True"}]),
    }
    for words, one in states.items():
        assert pod_state(one) == words
    seen = look(pods=[states["ready"], {**NO_GPU, "metadata": {**NO_GPU["metadata"], "name": "qwen-decoder-1"}}])
    [row] = role_rows(seen)
    assert (row.ready, row.wished) == (1, 2)
    assert row.pods == (("qwen-decoder-0", "ready"), ("qwen-decoder-1", "waiting for a node"))
    assert plain_line(seen) == "decoder 1/2"
