"""What a person writes: the service in one page. Keys are in kebab-case, as in the services' own configuration.

Every class is a section; docs/deploy.md is the tour. Sizes and CPUs are Kubernetes quantities (`8Gi`, `500m`).
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

Name = Annotated[str, Meta(pattern="^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$")]
Text = Annotated[str, Meta(min_length=1)]
Size = Annotated[str, Meta(pattern=r"^(?=.*[1-9])[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$")]
Cpu = int | float | str
Count = Annotated[int, Meta(ge=0)]
Some = Annotated[int, Meta(ge=1)]


class Section(Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """Base of all sections."""


class Oss(Section, frozen=True, kw_only=True, tag_field="kind", tag="oss"):
    """A directory of an OSS bucket, mounted by the cloud's CSI driver."""

    bucket: Text
    endpoint: Text
    """The bucket's endpoint; the internal one costs nothing inside the region."""
    path: Text
    secret: Name = "oss-secret"
    """Secret with `akId` and `akSecret`."""
    size: Size = "30Gi"
    options: str = "-o umask=022 -o allow_other"


class Nfs(Section, frozen=True, kw_only=True, tag_field="kind", tag="nfs"):
    """An NFS export, such as NAS."""

    server: Text
    path: Text
    size: Size = "100Gi"
    mount_options: list[str] = field(default_factory=lambda: ["nfsvers=4.1", "noresvport", "ro"])


class HostPath(Section, frozen=True, kw_only=True, tag_field="kind", tag="host-path"):
    """A folder that every node has."""

    path: Text
    size: Size = "100Gi"


class Claim(Section, frozen=True, kw_only=True, tag_field="kind", tag="pvc"):
    """A PersistentVolumeClaim that is there already."""

    claim: Name


class StorageClass(Section, frozen=True, kw_only=True, tag_field="kind", tag="storage-class"):
    """A new claim of a StorageClass. With `source`, a Job puts the model into it; without, somebody has to."""

    size: Size
    source: str | None = None
    """What `tandem models pull` is to fetch: `modelscope://Qwen/Qwen3-32B`, `hf://…`, `oss://…`. Workers wait."""
    source_secret: Name | None = None
    """Secret whose keys become the environment of that Job, such as HF_TOKEN."""
    storage_class: str | None = None
    """Default: the cluster's."""
    access_mode: Literal["ReadWriteMany", "ReadOnlyMany", "ReadWriteOnce"] = "ReadWriteMany"


Storage = Oss | Nfs | HostPath | Claim | StorageClass


class Cache(Section, frozen=True, kw_only=True):
    """Fluid in front of the storage: weights kept on the nodes, loaded before the workers ask."""

    runtime: Literal["jindo", "alluxio"] = "jindo"
    replicas: Some = 2
    """Cache workers; about one per GPU node."""
    medium: Literal["MEM", "SSD", "HDD"] = "MEM"
    path: str = "/dev/shm"
    quota: Size = "40Gi"
    """What one cache worker may hold."""
    node_selector: dict[str, str] = {}
    """Nodes that hold the cache: those with the GPUs."""
    load: bool = True
    """Load the whole model ahead (a DataLoad)."""
    prefetch: bool = True
    """Read the safetensors files into memory beside the engine, which reads them in a bad order."""


class Model(Section, frozen=True, kw_only=True):
    name: Text
    """What clients ask for."""
    storage: Storage
    path: str | None = None
    """Where pods see it. Default: /models/NAME."""
    folder: str | None = None
    """The model's folder on this machine, if there is one: it tells whether the model fits."""
    weights: Size | None = None
    """Bytes of its weights, where there is no folder: then only they are reckoned with."""
    cache: Cache | None = None


class Engine(Section, frozen=True, kw_only=True):
    kind: Text = "vllm"
    settings: dict[str, Any] = {}
    """Keys for all workers, such as `max-model-len`."""
    loader: Literal["default", "runai-streamer", "fastsafetensors"] = "default"
    """How vLLM reads weights. The others need the package's extra `loaders`, which the image for GPUs has."""
    prefill_timeout_s: float | None = None
    """Longest wait for a remote prefill. Default: the worker's own."""


class Router(Section, frozen=True, kw_only=True):
    mode: Text = "round-robin"
    settings: dict[str, Any] = {}
    """Keys of the Router section."""


class Scaling(Section, frozen=True, kw_only=True):
    """How many replicas a role gets, and what for. At least one signal."""

    min: Some = 1
    max: Some
    queue_seconds: Annotated[float, Meta(gt=0)] | None = None
    """90th percentile of the wait in the prefill queue. For prefill."""
    kv_use: Annotated[float, Meta(gt=0, le=1)] | None = None
    """Share of the KV cache in use, mean of the role's pods. For decode."""
    waiting: Annotated[float, Meta(gt=0)] | None = None
    """Requests that wait in each engine."""
    cpu: Annotated[int, Meta(ge=1)] | None = None
    """Percent of the CPU that was asked for."""
    memory: Annotated[int, Meta(ge=1)] | None = None
    """Percent of the memory that was asked for."""
    gpu: Annotated[int, Meta(ge=1, le=100)] | None = None
    """GPU utilisation in percent, by DCGM."""


class FromSecret(Section, frozen=True, kw_only=True):
    """A value that stands in a Secret: it is never rendered, and pods get it from there."""

    secret: Name
    key: Text


class Role(Section, frozen=True, kw_only=True):
    """Pods of one kind."""

    replicas: Count = 1
    cpu: Cpu = 4
    memory: Size = "16Gi"
    node_selector: dict[str, str] = {}
    tolerations: list[dict[str, Any]] = []
    env: dict[str, str | FromSecret] = {}
    scaling: Scaling | None = None


class Worker(Role, frozen=True, kw_only=True):
    """Engine workers."""

    gpus: Count = 1
    """GPUs of one pod; 0 runs on the CPU."""
    tensor_parallel: Some | None = None
    """GPUs of one engine. Default: all of the pod's."""
    workers: Some = 1
    """Engines in one pod."""
    gpu_memory: Size | None = None
    """Memory of one GPU, to see whether the model fits."""
    gpu_resource: Text = "nvidia.com/gpu"
    more_resources: dict[str, int | str] = {}
    """Others that a pod needs, such as `rdma/hca: 1`."""
    capabilities: list[str] = []
    """Linux capabilities; RDMA wants IPC_LOCK. None otherwise."""
    shared_memory: Size = "8Gi"
    settings: dict[str, Any] = {}
    """Keys of this role's section, over the engine's."""


class Roles(Section, frozen=True, kw_only=True):
    decoder: Worker
    processor: Role = Role(cpu=4, memory="8Gi", replicas=1)
    prefill: Worker | None = None
    """Without it, decoders prefill too."""


class Etcd(Section, frozen=True, kw_only=True):
    members: Some = 3
    image: Text = "quay.io/coreos/etcd:v3.6.16"
    size: Size = "8Gi"
    storage_class: str | None = None
    endpoints: list[str] = []
    """An etcd that is there already; then none is rendered."""
    secret: Name | None = None
    """Secret with `username` and `password` of that etcd."""


class Nats(Section, frozen=True, kw_only=True):
    image: Text = "nats:2.14.9"
    size: Size = "10Gi"
    storage_class: str | None = None
    secret: Name | None = None
    """Secret with `username` and `password`. Default: NAME-nats, made by `apply` with a random password."""
    server: str | None = None
    """A NATS that is there already; then none is rendered."""


class Planes(Section, frozen=True, kw_only=True):
    etcd: Etcd = Etcd()
    nats: Nats = Nats()


class Front(Section, frozen=True, kw_only=True):
    keys_secret: Name | None = None
    """Secret whose key `keys.yaml` is a keys file of `tandem keys`."""
    open_to: Literal["cluster", "namespace"] = "cluster"
    """Who may reach port 8000, by NetworkPolicy; an Ingress controller is in the cluster."""
    settings: dict[str, Any] = {}
    """Keys of the Frontend section."""


class Ingress(Section, frozen=True, kw_only=True, tag_field="kind", tag="ingress"):
    host: Text
    class_name: str | None = None
    tls_secret: Name | None = None
    annotations: dict[str, str] = {}


class Gateway(Section, frozen=True, kw_only=True, tag_field="kind", tag="gateway"):
    """A route at a Gateway that is there already."""

    host: Text
    gateway: Name
    gateway_namespace: str | None = None
    listener: str | None = None


class Metrics(Section, frozen=True, kw_only=True):
    """Where the figures go; without it, no PodMonitor."""

    monitor: bool = True
    """A PodMonitor (Prometheus operator, and Alibaba's managed Prometheus)."""
    interval_s: Some = 15
    labels: dict[str, str] = {}
    """On the PodMonitor; many Prometheus servers pick by one."""
    namespace: str = "monitoring"
    """Where Prometheus runs: only from there the metrics port is reached."""
    prometheus: str | None = None
    """Its address, for KEDA and the adapter's values."""
    adapter: Literal["prometheus", "alibaba"] = "prometheus"
    """Which metrics adapter the values in `render -o` are for."""
    autoscaler: Literal["hpa", "keda"] = "hpa"


class PrePull(Section, frozen=True, kw_only=True):
    """Images, and the first pages of the weights, on the nodes before a pod needs them."""

    node_selector: dict[str, str] = {}
    tolerations: list[dict[str, Any]] = []
    weights: bool = False
    """Also read the model's files once, so that a node's cache has them."""


class Description(Section, frozen=True, kw_only=True):
    name: Name
    image: str
    model: Model
    roles: Roles
    namespace: Name = "default"
    engine: Engine = Engine()
    router: Router = Router()
    planes: Planes = Planes()
    front: Front = Front()
    ingress: Ingress | Gateway | None = None
    metrics: Metrics | None = None
    pre_pull: PrePull | None = None
    image_pull_secrets: list[str] = []

    @property
    def model_path(self) -> str:
        """Where pods see the model."""
        return self.model.path or f"/models/{self.model.name}"

    def workers(self) -> dict[str, Worker]:
        """Roles with engines, by name, in the order of the guide."""
        found = {"prefill": self.roles.prefill, "decoder": self.roles.decoder}
        return {name: role for name, role in found.items() if role is not None}

    def every_role(self) -> dict[str, Role]:
        return {"processor": self.roles.processor, **self.workers()}
