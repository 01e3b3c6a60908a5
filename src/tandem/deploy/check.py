"""Rules between the fields of a description: sums that cannot come out, and settings that need each other."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tandem.deploy.description import Description, Oss, Role, StorageClass, Worker
from tandem.settings.fields import normalise

_RESERVED = {"model", "served_model_name", "tensor_parallel_size", "ServiceArgs", "common_configs", "engine"}
"""Normalised: a service takes either spelling."""
_SECRET = re.compile(r"(^|_)(TOKEN|(API)?KEY|PASSWORD|SECRET|CREDENTIALS?)(_|$)", re.IGNORECASE)
_SECRET_SETTING = re.compile(r"(^|_)(token|api_?key|password|secret|credentials?)$")
"""Of normalised keys; a key of its own, `tls_key`, names a file."""
_CPU = r"(?=.*[1-9])([0-9]+(\.[0-9]+)?|[0-9]+m)"
_LONGEST = 40
"""A StatefulSet's pods carry its name and 11 characters more as a label of 63; `-processor` takes 10."""


def rule_faults(wish: Description) -> Iterator[str]:
    """Every rule that is broken, in words, each with its path."""
    if wish.name[0].isdigit():
        yield f"name is {wish.name!r}: the Service is called so, and must begin with a letter"
    if not wish.image:
        yield "image is empty: name the Tandem image, built with deploy/Dockerfile"
    if not wish.model_path.startswith("/"):
        yield f"model.path is {wish.model_path!r}: pods need an absolute path"
    if not re.fullmatch(r"[\w./-]+", wish.model_path):
        yield f"model.path is {wish.model_path!r}: letters, digits, '.', '_', '-' and '/' only"
    storage = wish.model.storage
    if isinstance(storage, StorageClass) and storage.source is not None:
        if "://" not in storage.source:
            yield f"model.storage.source is {storage.source!r}: write modelscope://ORG/NAME or the like"
        if storage.access_mode == "ReadOnlyMany":
            yield "model.storage.access-mode is ReadOnlyMany, and the Job that pulls the model has to write"
    if isinstance(storage, Oss) and "@" in storage.endpoint:
        yield "model.storage.endpoint holds a password: model.storage.secret names the Secret with the keys"
    for name, role in wish.every_role().items():
        if not re.fullmatch(_CPU, str(role.cpu)):
            yield f"roles.{name}.cpu is {role.cpu!r}; write a number such as 12, or 500m"
        yield from _scaling(f"roles.{name}", name, role, wish)
    for name, worker in wish.workers().items():
        yield from _worker(f"roles.{name}", worker)
    etcd = wish.planes.etcd
    if etcd.members % 2 == 0 and not etcd.endpoints:
        yield f"planes.etcd.members is {etcd.members}: an even number survives no more losses; use 1, 3 or 5"
    if etcd.secret and not etcd.endpoints:
        yield "planes.etcd.secret is for an etcd of your own: name its addresses in planes.etcd.endpoints"
    for index, url in enumerate(etcd.endpoints):
        if not re.match(r"https?://", url):
            yield f"planes.etcd.endpoints[{index}] is {url!r}: write http://HOST:2379 or https://"
        elif "@" in url:
            yield f"planes.etcd.endpoints[{index}] holds a password: put it into planes.etcd.secret"
    if (server := wish.planes.nats.server) and not re.match(r"(nats|tls)://[^@]+$", server):
        yield "planes.nats.server must be nats://HOST:4222 or tls://, without a user: planes.nats.secret has those"
    if wish.metrics and not re.fullmatch(r"https?://[^@\s]+", wish.metrics.prometheus or "http://none"):
        yield "metrics.prometheus must be http://HOST:PORT or https://, without a user: figures are asked without one"
    for key in _named(_RESERVED, wish.engine.settings):
        yield f"engine.settings.{key} is written by `tandem deploy` itself; take it out"
    for key in _named({"port", "host", "endpoint"}, wish.front.settings):
        yield f"front.settings.{key} is not for a description: the Service goes to port 8000 of every pod"
    for key in _named({"api_key", "api_keys"}, wish.front.settings):
        yield f"front.settings.{key} would be readable by everybody in a ConfigMap: put keys into front.keys-secret"
    yield from _numbers("engine.settings", wish.engine.settings)
    for name, worker in wish.workers().items():
        yield from _numbers(f"roles.{name}.settings", worker.settings)
    if wish.model.cache and wish.model.storage.__struct_config__.tag == "storage-class":
        yield "model.cache needs a model that is stored already; storage kind storage-class makes an empty volume"
    if wish.engine.loader != "default":
        if wish.engine.kind != "vllm":
            yield f"engine.loader is for vLLM; engine.kind is {wish.engine.kind}"
        if "load-format" in wish.engine.settings:
            yield "engine.loader and engine.settings.load-format say the same; keep one"


def notices(wish: Description) -> list[str]:
    """What may be meant, and had better be known."""
    found = []
    for name, role in wish.every_role().items():
        for key in role.env:
            if _SECRET.search(key) and isinstance(role.env[key], str):
                found.append(
                    f"roles.{name}.env.{key} looks like a secret, and everybody who may see pods would read it: "
                    f"write {key}: {{secret: NAME, key: KEY}}"
                )
    written = {f"roles.{name}": worker.settings for name, worker in wish.workers().items()}
    for path, settings in ({"engine": wish.engine.settings, "router": wish.router.settings} | written).items():
        for key, value in settings.items():
            if isinstance(value, str) and _SECRET_SETTING.search(normalise(key)):
                found.append(
                    f"{path}.settings.{key} looks like a secret, and everybody who may see ConfigMaps would read it: "
                    "give it by a variable of the role, from a Secret"
                )
    for name, worker in wish.workers().items():
        used = worker.workers * tensor_parallel(worker)
        if used < worker.gpus:
            found.append(f"roles.{name}: {used} of {worker.gpus} GPUs of each pod are used; the others idle")
    if wish.roles.prefill is None:
        found.append("roles.prefill is not there: decoders prefill too")
    if several_fronts(wish) and "batch-folder" not in wish.front.settings:
        found.append("roles.processor: several pods share no folder, so /v1/files and /v1/batches are off")
    return found


def several_fronts(wish: Description) -> bool:
    """Whether there is, or may come to be, more than one processor."""
    rule = wish.roles.processor
    return max(rule.replicas, rule.scaling.max if rule.scaling else 0) > 1


def tensor_parallel(worker: Worker) -> int:
    """GPUs of one engine."""
    return worker.tensor_parallel or max(worker.gpus // worker.workers, 1)


def _named(names: set[str], settings: Mapping[str, object]) -> list[str]:
    """Keys that mean one of these, as they are written."""
    return [key for key in settings if normalise(key) in names]


def _numbers(path: str, settings: Mapping[str, Any]) -> Iterator[str]:
    """Values that sums are made of, and that an engine would refuse only after it has been placed."""
    for key, value in settings.items():
        match normalise(key):
            case "gpu_memory_utilization":
                if not isinstance(value, int | float) or not 0 < value <= 1:
                    yield f"{path}.{key} is {value!r}; write a share of the GPU's memory, above 0 and at most 1"
            case "max_model_len" | "max_num_batched_tokens":
                if not re.fullmatch(r"-1|auto|(?=.*[1-9])[0-9.]+[kKmMgG]?", str(value)):
                    yield f"{path}.{key} is {value!r}; write a number of tokens"


def _worker(path: str, worker: Worker) -> Iterator[str]:
    each = tensor_parallel(worker)
    if worker.gpus and worker.workers * each > worker.gpus:
        product = f"{worker.workers} x {each}" if worker.workers > 1 else f"{each}"
        yield f"{path}: tensor-parallel needs {product} GPUs, gpus is {worker.gpus}; raise it or lower tensor-parallel"
    if not worker.gpus and each > 1:
        yield f"{path}: tensor-parallel is {each} and gpus is 0; a CPU holds the whole model in one process"
    for key in sorted({"cpu", "memory", worker.gpu_resource} & set(worker.more_resources)):
        yield f"{path}.more-resources.{key} is what {'gpus' if key == worker.gpu_resource else key} says; take it out"
    for key in _named(_RESERVED, worker.settings):
        yield f"{path}.settings.{key} is written by `tandem deploy` itself; take it out"


def _scaling(path: str, name: str, role: Role, wish: Description) -> Iterator[str]:
    rule = role.scaling
    if rule is None:
        return
    if rule.max < rule.min:
        yield f"{path}.scaling: max is {rule.max}, less than min {rule.min}"
    elif not rule.min <= role.replicas <= rule.max:
        yield f"{path}.replicas is {role.replicas}; scaling keeps it between {rule.min} and {rule.max}"
    named = {"queue-seconds": rule.queue_seconds, "kv-use": rule.kv_use, "waiting": rule.waiting, "gpu": rule.gpu}
    from_prometheus = [key for key, value in named.items() if value is not None]
    if not from_prometheus and rule.cpu is None and rule.memory is None:
        yield f"{path}.scaling names no signal: queue-seconds, kv-use, waiting, cpu, memory or gpu"
    if name == "processor":
        for key in from_prometheus:
            yield f"{path}.scaling.{key} is a figure of engines; the processor has none: use cpu or memory"
    if name == "decoder" and rule.queue_seconds is not None:
        yield f"{path}.scaling.queue-seconds is the wait for a prefill worker: it belongs to roles.prefill.scaling"
    if from_prometheus and wish.metrics is None:
        yield f"{path}.scaling.{from_prometheus[0]} comes from Prometheus: add metrics"
    if wish.metrics and wish.metrics.autoscaler == "keda" and from_prometheus and not wish.metrics.prometheus:
        yield "metrics.prometheus is missing: KEDA asks Prometheus there"
