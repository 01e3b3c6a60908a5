"""The deployment guide's own set, in its own names and with its own defaults: one etcd, NATS without a password.

For readers who want to see that what they have is what the guide has. `render` makes the set that we would run.
"""

from dataclasses import replace
from typing import Any

import yaml

from tandem.deploy.check import tensor_parallel
from tandem.deploy.description import Claim, Description, HostPath, Nfs, Oss, Role, StorageClass, Worker
from tandem.deploy.objects import NeededSecret, Object, Step
from tandem.deploy.storage import OSS_ENVIRONMENT

VOLUME, CONFIGS, SERVICE = "llm-model", "dynamo-configs", "dynamo-service"
_GRAPH = """\
from components.frontend import Frontend
from components.kv_router import Router
from components.processor import Processor

Frontend.link(Processor).link(Router)
"""
_SHELL = "cd /workspace/examples/llm; dynamo serve {} -f ./configs/qwen3.yaml"
_CONTAINERS = {
    "processor": ("processor", "graphs.pd_disagg:Frontend", ""),
    "prefill": ("prefill-worker", "components.prefill_worker:PrefillWorker", ""),
    "decoder": ("vllm-worker", "components.worker:VllmWorker", " --service-name VllmWorker"),
}
_PORTS = {"health": 8000, "request": 9345, "api": 443, "metrics": 9347}
_OWN = "gpu-memory-utilization"
"""The one engine key that the guide writes into the workers' sections."""


def render_like_the_guide(wish: Description) -> list[Step]:
    """The guide's steps 1 to 3, in its order."""
    steps = [
        _model(wish),
        Step(name="etcd", about="step 2: etcd", objects=_etcd(wish)),
        Step(name="nats", about="step 2: NATS", objects=_nats(wish)),
        Step(name="configs", about="step 3: the graph and its configuration", objects=[_config_map(wish)]),
        Step(name="dynamo", about="step 3: the group", objects=[_group(wish)]),
        Step(name="service", about="step 3: the front door", objects=[_service(wish)]),
    ]
    return [replace(step, number=number) for number, step in enumerate(steps, 1)]


def guide_secrets(wish: Description) -> list[NeededSecret]:
    """The one Secret of the guide."""
    storage = wish.model.storage
    if not isinstance(storage, Oss):
        return []
    why = "the keys of the bucket"
    return [NeededSecret(name=storage.secret, keys=("akId", "akSecret"), environment=OSS_ENVIRONMENT, why=why)]


def _object(api: str, kind: str, name: str, wish: Description, **body: Any) -> Object:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": wish.namespace}, **body}


def _model(wish: Description) -> Step:
    storage, objects = wish.model.storage, list[Object]()
    if isinstance(storage, Oss):
        # Placeholders: a password is never rendered. `apply` takes it from the environment, or finds the Secret.
        text = {"akId": "<your-access-key-id>", "akSecret": "<your-access-key-secret>"}
        objects.append(_object("v1", "Secret", storage.secret, wish, stringData=text))
    if isinstance(storage, Oss | Nfs | HostPath):
        label = {"alicloud-pvname": VOLUME}
        spec: Object = {
            "capacity": {"storage": storage.size},
            "accessModes": ["ReadOnlyMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            **_source(storage, wish),
        }
        volume = _object("v1", "PersistentVolume", VOLUME, wish, spec=spec)
        volume["metadata"] = {"name": VOLUME, "labels": label}
        claim = {
            "accessModes": ["ReadOnlyMany"],
            "resources": {"requests": {"storage": storage.size}},
            "selector": {"matchLabels": label},
        }
        objects += [volume, _object("v1", "PersistentVolumeClaim", VOLUME, wish, spec=claim)]
    elif isinstance(storage, StorageClass):
        claim = {"accessModes": [storage.access_mode], "resources": {"requests": {"storage": storage.size}}}
        objects.append(_object("v1", "PersistentVolumeClaim", VOLUME, wish, spec=claim))
    return Step(name="model", about="step 1: the model's files", objects=objects, secrets=guide_secrets(wish))


def _source(storage: Oss | Nfs | HostPath, wish: Description) -> Object:
    match storage:
        case Oss():
            attributes = {
                "bucket": storage.bucket,
                "url": storage.endpoint,
                "otherOpts": storage.options,
                "path": storage.path,
            }
            csi: Object = {
                "driver": "ossplugin.csi.alibabacloud.com",
                "volumeHandle": VOLUME,
                "nodePublishSecretRef": {"name": storage.secret, "namespace": wish.namespace},
                "volumeAttributes": attributes,
            }
            return {"csi": csi}
        case Nfs():
            return {"nfs": {"server": storage.server, "path": storage.path}}
        case HostPath():
            return {"hostPath": {"path": storage.path}}


def _plane(name: str, wish: Description, ports: dict[str, int], **spec: Any) -> Object:
    listed = [{"name": key, "port": number, "targetPort": number} for key, number in ports.items()]
    return _object("v1", "Service", name, wish, spec={**spec, "selector": {"app": name}, "ports": listed})


def _etcd(wish: Description) -> list[Object]:
    container = {
        "name": "etcd",
        "image": "bitnami/etcd:3.6.1",
        "env": [
            {"name": "ETCDCTL_API", "value": "3"},
            {"name": "ALLOW_NONE_AUTHENTICATION", "value": "yes"},
        ],
        "ports": [{"containerPort": 2379, "name": "client"}, {"containerPort": 2380, "name": "peer"}],
        "volumeMounts": [{"name": "data", "mountPath": "/var/lib/etcd"}],
    }
    pod = {"containers": [container], "volumes": [{"name": "data", "emptyDir": {}}]}
    spec = {
        "serviceName": "etcd",
        "replicas": 1,
        "selector": {"matchLabels": {"app": "etcd"}},
        "template": {"metadata": {"labels": {"app": "etcd"}}, "spec": pod},
    }
    service = _plane("etcd", wish, {"client": 2379, "peer": 2380}, clusterIP="None")
    return [service, _object("apps/v1", "StatefulSet", "etcd", wish, spec=spec)]


def _nats(wish: Description) -> list[Object]:
    container = {
        "name": "nats",
        "image": "nats:2.11.5",
        "args": ["-js", "--trace", "-m", "8222"],
        "ports": [{"containerPort": 4222}, {"containerPort": 8222}, {"containerPort": 6222}],
    }
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "nats"}},
        "template": {"metadata": {"labels": {"app": "nats"}}, "spec": {"containers": [container]}},
    }
    service = _plane("nats", wish, {"client": 4222, "management": 8222, "cluster": 6222})
    return [service, _object("apps/v1", "Deployment", "nats", wish, spec=spec)]


def _config_map(wish: Description) -> Object:
    settings = dict(wish.engine.settings)
    own = {_OWN: settings.pop(_OWN)} if _OWN in settings else {}
    common = {
        "model": wish.model_path,
        "kv-transfer-config": '{"kv_connector":"DynamoNixlConnector"}',
        "router": wish.router.mode,
        **settings,
        "disable-log-requests": True,
    }
    shared = [key for key in common if key != "max-num-batched-tokens"]
    sections: dict[str, Any] = {
        "Common": common,
        "Frontend": {
            "served_model_name": wish.model.name,
            "endpoint": "dynamo.Processor.chat/completions",
            "port": 8000,
        },
        "Processor": {"common-configs": ["model", "router"]},
        "VllmWorker": {
            "common-configs": shared,
            "remote-prefill": True,
            "conditional-disagg": False,
            **own,
            **_placing(wish.roles.decoder),
        },
    }
    if wish.roles.prefill:
        # The guide's list also names a key that its Common does not have; Tandem says so and goes on.
        taken = [key for key in common if key not in ("router", "disable-log-requests")]
        taken = [*taken, _OWN, "disable-log-requests"]
        sections["PrefillWorker"] = {"common-configs": taken, **_placing(wish.roles.prefill), **own}
    text = yaml.safe_dump(sections, sort_keys=False, width=160)
    return _object("v1", "ConfigMap", CONFIGS, wish, data={"pd_disagg.py": _GRAPH, "qwen3.yaml": text})


def _placing(worker: Worker) -> dict[str, Any]:
    size = tensor_parallel(worker)
    return {
        "tensor-parallel-size": size,
        "ServiceArgs": {"workers": worker.workers, "resources": {"gpu": size}},
    }


def _group(wish: Description) -> Object:
    roles = [
        {"name": name, "replicas": role.replicas, "template": {"spec": _pod(wish, name, role)}}
        for name, role in wish.every_role().items()
    ]
    return _object("workloads.x-k8s.io/v1alpha1", "RoleBasedGroup", wish.name, wish, spec={"roles": roles})


def _pod(wish: Description, role_name: str, role: Role) -> Object:
    name, target, more = _CONTAINERS[role_name]
    container: Object = {
        "name": name,
        "image": wish.image,
        "command": ["sh", "-c", _SHELL.format(target) + more],
        "env": _env(wish),
    }
    if role_name == "processor":
        container["ports"] = [{"containerPort": n, "name": key, "protocol": "TCP"} for key, n in _PORTS.items()]
        probe = {"tcpSocket": {"port": 8000}, "initialDelaySeconds": 30, "periodSeconds": 30}
        container["readinessProbe"] = probe
    amounts: Object = {"cpu": str(role.cpu), "memory": role.memory}
    if isinstance(role, Worker) and role.gpus:
        amounts[role.gpu_resource] = str(role.gpus)
    container["resources"] = {"limits": amounts, "requests": dict(amounts)}
    folder = "/workspace/examples/llm"
    mounts = [
        {"name": "model", "mountPath": wish.model_path},
        {"name": CONFIGS, "mountPath": f"{folder}/configs/qwen3.yaml", "subPath": "qwen3.yaml"},
    ]
    if role_name == "processor":
        mounts.append({"name": CONFIGS, "mountPath": f"{folder}/graphs/pd_disagg.py", "subPath": "pd_disagg.py"})
    container["volumeMounts"] = mounts
    storage = wish.model.storage
    claim = storage.claim if isinstance(storage, Claim) else VOLUME
    volumes = [
        {"name": "model", "persistentVolumeClaim": {"claimName": claim}},
        {"name": CONFIGS, "configMap": {"name": CONFIGS}},
    ]
    return {"containers": [container], "volumes": volumes}


def _env(wish: Description) -> list[Object]:
    timeout_s = 60 if wish.engine.prefill_timeout_s is None else wish.engine.prefill_timeout_s
    values = {
        "DYNAMO_NAME": "dynamo",
        "DYNAMO_NAMESPACE": wish.namespace,
        "ETCD_ENDPOINTS": "http://etcd:2379",
        "NATS_SERVER": "nats://nats:4222",
        "DYNAMO_RP_TIMEOUT": f"{timeout_s:g}",
    }
    return [{"name": key, "value": value} for key, value in values.items()]


def _service(wish: Description) -> Object:
    spec = {
        "type": "ClusterIP",
        "ports": [{"port": 8000, "protocol": "TCP", "targetPort": 8000}],
        "selector": {
            "rolebasedgroup.workloads.x-k8s.io/name": wish.name,
            "rolebasedgroup.workloads.x-k8s.io/role": "processor",
        },
    }
    return _object("v1", "Service", SERVICE, wish, spec=spec)
