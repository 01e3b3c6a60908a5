"""The RoleBasedGroup: processor, prefill and decode workers, each with its own count, resources and probes."""

from tandem.deploy.configuration import FILE, MOUNTED_AT, config_hash, config_name
from tandem.deploy.description import Description, FromSecret, Role, Worker
from tandem.deploy.etcd import etcd_endpoints
from tandem.deploy.fluid import pod_annotations
from tandem.deploy.nats import nats_secret, nats_url
from tandem.deploy.objects import (
    FRONT_PORT,
    SYSTEM_PORT,
    USER,
    Object,
    apart,
    confined_container,
    confined_pod,
    get_probe,
    labels,
    made,
    port,
)
from tandem.deploy.pull import pulled_source, wait_for_model
from tandem.deploy.storage import mounted_claim

API = "workloads.x-k8s.io/v1alpha1"
DRAIN_S = 60
"""How long a pod that is asked to go may finish its requests."""
_TARGETS = {
    "processor": ["graphs.pd_disagg:Frontend"],
    "prefill": ["components.prefill_worker:PrefillWorker"],
    "decoder": ["components.worker:VllmWorker", "--service-name", "VllmWorker"],
}


def group(wish: Description) -> Object:
    """The group itself."""
    roles = [_role(wish, name, role) for name, role in wish.every_role().items()]
    return made(API, "RoleBasedGroup", wish.name, wish, "group", spec={"roles": roles})


def _role(wish: Description, name: str, role: Role) -> Object:
    annotations = {"tandem.dev/config-hash": config_hash(wish)}
    if isinstance(role, Worker):
        annotations |= pod_annotations(wish)
    metadata: Object = {"labels": _pod_labels(wish, name), "annotations": annotations}
    found: Object = {
        "name": name,
        "replicas": role.replicas,
        "rolloutStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
        "template": {"metadata": metadata, "spec": pod_spec(wish, name, role)},
    }
    if role.scaling:
        found["scalingAdapter"] = {"enable": True}
    return found


def _pod_labels(wish: Description, name: str) -> dict[str, str]:
    """Ours, those by which Alibaba's dashboards find inference pods, and Fluid's."""
    found = labels(wish, name)
    if name != "processor":
        found |= {
            "alibabacloud.com/inference-workload": wish.name,
            "alibabacloud.com/inference_backend": wish.engine.kind,
        }
        if (cache := wish.model.cache) is not None:
            found["fuse.serverful.fluid.io/inject"] = "true"
            if cache.node_selector:  # the cache is on the GPU nodes: a pod elsewhere would read over the network
                found[f"fluid.io/dataset.{mounted_claim(wish)}.sched"] = "required"
    return found


def pod_spec(wish: Description, name: str, role: Role) -> Object:
    """A role's pod."""
    worker = role if isinstance(role, Worker) else None
    command = ["tini", "--", "tandem", "serve", *_TARGETS[name][:1], "-f", f"{MOUNTED_AT}/{FILE}", *_TARGETS[name][1:]]
    ports = [port("metrics", SYSTEM_PORT)]
    if name == "processor":
        ports.insert(0, port("http", FRONT_PORT))
    container: Object = {
        "name": name,
        "image": wish.image,
        "command": command,
        "workingDir": "/workspace/examples/llm",
        "env": _env(wish, role),
        "ports": ports,
        # /live answers from the first moment on, also while an engine loads; /ready when requests can be served.
        "readinessProbe": get_probe("/ready", SYSTEM_PORT, periodSeconds=5, timeoutSeconds=3, failureThreshold=2),
        "livenessProbe": get_probe(
            "/live", SYSTEM_PORT, initialDelaySeconds=30, periodSeconds=10, timeoutSeconds=5, failureThreshold=6
        ),
        "terminationMessagePolicy": "FallbackToLogsOnError",  # `tandem deploy status` reads why it ended
        "resources": _resources(role),
        "securityContext": confined_container(worker.capabilities if worker else None),
        "volumeMounts": _mounts(wish, worker),
    }
    pod: Object = {
        **confined_pod(USER),
        "terminationGracePeriodSeconds": DRAIN_S + 15,
        "affinity": apart(wish, name),
        "containers": [container],
        "volumes": _volumes(wish, worker),
    }
    if pulled_source(wish):
        pod["initContainers"] = [wait_for_model(wish)]
    if role.node_selector:
        pod["nodeSelector"] = dict(role.node_selector)
    if role.tolerations:
        pod["tolerations"] = list(role.tolerations)
    if wish.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret} for secret in wish.image_pull_secrets]
    return pod


def _env(wish: Description, role: Role) -> list[Object]:
    values = {
        "DYNAMO_NAME": wish.name,
        "DYNAMO_NAMESPACE": wish.namespace,
        "ETCD_ENDPOINTS": etcd_endpoints(wish),
        "NATS_SERVER": nats_url(wish),
        "TANDEM_DRAIN_TIMEOUT_S": str(DRAIN_S),
        "HOME": "/home/tandem",
    }
    if not isinstance(role, Worker) and wish.front.keys_secret:
        values["TANDEM_API_KEYS_FILE"] = "/etc/tandem/keys/keys.yaml"
    found: list[Object] = [{"name": key, "value": value} for key, value in values.items() if key not in role.env]
    for prefix, secret in (("NATS", nats_secret(wish)), ("ETCD", wish.planes.etcd.secret)):
        for suffix, key in (("USERNAME", "username"), ("PASSWORD", "password")):
            if secret:
                source = {"secretKeyRef": {"name": secret, "key": key}}
                found.append({"name": f"{prefix}_AUTH_{suffix}", "valueFrom": source})
    return found + [_variable(key, value) for key, value in role.env.items()]


def _variable(name: str, value: str | FromSecret) -> Object:
    if isinstance(value, str):
        return {"name": name, "value": value}
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": value.secret, "key": value.key}}}


def _resources(role: Role) -> Object:
    """Requests are limits, so that no neighbour's hunger slows a decode step."""
    each: Object = {"cpu": str(role.cpu), "memory": role.memory}
    if isinstance(role, Worker):
        if role.gpus:
            each[role.gpu_resource] = str(role.gpus)
        each |= {key: str(value) for key, value in role.more_resources.items()}
    return {"requests": each, "limits": dict(each)}


def _mounts(wish: Description, worker: Worker | None) -> list[Object]:
    found: list[Object] = [
        {"name": "model", "mountPath": wish.model_path, "readOnly": True},
        {"name": "config", "mountPath": MOUNTED_AT, "readOnly": True},
        {"name": "home", "mountPath": "/home/tandem"},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    if worker:
        found.append({"name": "shm", "mountPath": "/dev/shm"})
    elif wish.front.keys_secret:
        found.append({"name": "keys", "mountPath": "/etc/tandem/keys", "readOnly": True})
    return found


def _volumes(wish: Description, worker: Worker | None) -> list[Object]:
    found: list[Object] = [
        {"name": "model", "persistentVolumeClaim": {"claimName": mounted_claim(wish), "readOnly": True}},
        {"name": "config", "configMap": {"name": config_name(wish)}},
        {"name": "home", "emptyDir": {}},
        {"name": "tmp", "emptyDir": {}},
    ]
    if worker:
        found.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": worker.shared_memory}})
    elif wish.front.keys_secret:
        found.append({"name": "keys", "secret": {"secretName": wish.front.keys_secret}})
    return found
