"""Descriptions that between them use every part: what is rendered for each must be taken by every server."""

from typing import Any

from tests.deploy.builders import described, example

from tandem.deploy.description import Description

OSS = {"kind": "oss", "bucket": "b", "endpoint": "oss-x-internal.example.com", "path": "/m"}
NFS = {"kind": "nfs", "server": "nas.example.com", "path": "/export"}
_SIGNALS: dict[str, Any] = {"min": 1, "max": 5, "waiting": 4, "gpu": 80, "cpu": 70, "memory": 80}
_METRICS: dict[str, Any] = {"prometheus": "http://prometheus.monitoring:9090", "labels": {"release": "p"}}


def variants() -> dict[str, Description]:
    """By name."""
    scaled: dict[str, Any] = {
        "roles__prefill": {"scaling": {**_SIGNALS, "queue-seconds": 0.5}},
        "roles__decoder": {"scaling": {**_SIGNALS, "kv-use": 0.8}},
        "roles__processor": {"scaling": {"max": 3, "cpu": 70}},
    }
    return {
        "shortest": described(),
        "example": example("service"),
        "guide": example("guide"),
        "oss": described(model__storage=OSS),
        "nfs": described(model__storage=NFS),
        "host-path": described(model__storage={"kind": "host-path", "path": "/data/models"}),
        "storage-class": described(model__storage={"kind": "storage-class", "size": "90Gi", "storage-class": "fast"}),
        "pulled": described(
            model__storage={
                "kind": "storage-class",
                "size": "90Gi",
                "source": "modelscope://Qwen/Qwen3-32B",
                "source-secret": "hub",
            }
        ),
        "jindo": described(model__storage=OSS, model__cache={"node-selector": {"gpu": "yes"}}),
        "alluxio": described(model__storage=NFS, model__cache={"runtime": "alluxio", "load": False}),
        "hpa": described(metrics=_METRICS, **scaled),
        "keda": described(metrics={**_METRICS, "autoscaler": "keda"}, **scaled),
        "ingress": described(
            ingress={"kind": "ingress", "host": "h.example.com", "class-name": "nginx", "tls-secret": "tls"}
        ),
        "gateway": described(
            ingress={"kind": "gateway", "host": "h.example.com", "gateway": "g", "gateway-namespace": "infra"}
        ),
        "outside": described(
            planes={
                "etcd": {"endpoints": ["https://etcd.example.com:2379"], "secret": "etcd-login"},
                "nats": {"server": "tls://nats.example.com:4222", "secret": "nats-login"},
            },
        ),
        "everything": described(
            model__storage=NFS,
            front={"keys-secret": "keys", "open-to": "namespace"},
            pre_pull={"weights": True, "node-selector": {"gpu": "yes"}, "tolerations": [{"operator": "Exists"}]},
            image_pull_secrets=["registry"],
            engine={"loader": "runai-streamer", "settings": {"max-model-len": 8192}},
            router={"mode": "kv", "settings": {"overlap-weight": 2.0}},
            metrics={},
            roles__decoder={
                "gpus": 4,
                "workers": 2,
                "more-resources": {"rdma/hca": 1},
                "capabilities": ["IPC_LOCK"],
                "env": {"UCX_TLS": "rc,cuda"},
                "node-selector": {"gpu": "yes"},
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            },
        ),
        "cpu": described(engine__kind="simulated", roles__decoder={"gpus": 0}, roles__prefill=None),
    }
