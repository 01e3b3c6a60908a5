"""Fluid: a cache of the weights on the nodes, filled before the first worker asks, and a prefetcher beside engines."""

from tandem.deploy.description import Cache, Description, Oss
from tandem.deploy.objects import Object, made
from tandem.deploy.storage import mounted_claim, stored_claim

API = "data.fluid.io/v1alpha1"


def fluid_objects(wish: Description) -> list[Object]:
    """Dataset, runtime and DataLoad. The claim that pods mount is made by Fluid, under the Dataset's name."""
    cache = wish.model.cache
    if cache is None:
        return []
    name = mounted_claim(wish)
    found = [
        made(API, "Dataset", name, wish, "cache", spec=_dataset(wish, cache)),
        made(API, _RUNTIMES[cache.runtime], name, wish, "cache", spec=_runtime(cache)),
    ]
    if cache.load:
        spec: Object = {
            "dataset": {"name": name, "namespace": wish.namespace},
            "loadMetadata": True,
            "target": [{"path": "/", "replicas": 1}],
        }
        found.append(made(API, "DataLoad", f"{name}-load", wish, "cache", spec=spec))
    return found


_RUNTIMES = {"jindo": "JindoRuntime", "alluxio": "AlluxioRuntime"}


def pod_annotations(wish: Description) -> dict[str, str]:
    """On worker pods: read the files in order into memory, beside the engine that reads them at random."""
    cache = wish.model.cache
    if cache is None or not cache.prefetch:
        return {}
    return {
        "file-prefetcher.fluid.io/inject": "true",
        "file-prefetcher.fluid.io/file-list": f"pvc://{mounted_claim(wish)}/*.safetensors",
        "file-prefetcher.fluid.io/async-prefetch": "true",
        "file-prefetcher.fluid.io/prefetch-timeout-seconds": "600",
    }


def _dataset(wish: Description, cache: Cache) -> Object:
    storage = wish.model.storage
    if isinstance(storage, Oss):
        mount: Object = {
            "mountPoint": f"oss://{storage.bucket}/{storage.path.strip('/')}",
            "name": "model",
            "path": "/",
            "readOnly": True,
            "options": {"fs.oss.endpoint": storage.endpoint},
            "encryptOptions": [
                _from_secret("fs.oss.accessKeyId", storage.secret, "akId"),
                _from_secret("fs.oss.accessKeySecret", storage.secret, "akSecret"),
            ],
        }
    else:
        mount = {"mountPoint": f"pvc://{stored_claim(wish)}", "name": "model", "path": "/", "readOnly": True}
    spec: Object = {"mounts": [mount], "accessModes": ["ReadOnlyMany"]}
    if cache.node_selector:
        expressions = [
            {"key": key, "operator": "In", "values": [value]} for key, value in sorted(cache.node_selector.items())
        ]
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": expressions}]}}
    return spec


def _from_secret(option: str, secret: str, key: str) -> Object:
    return {"name": option, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def _runtime(cache: Cache) -> Object:
    level = {
        "mediumtype": cache.medium,
        "path": cache.path,
        "quota": cache.quota,
        "high": "0.99",
        "low": "0.95",
    }
    spec: Object = {"replicas": cache.replicas, "tieredstore": {"levels": [level]}}
    if cache.runtime == "jindo":
        # The kernel keeps what was read, and asks for no file's age: weights do not change.
        args = ["-okernel_cache", "-oro", "-oattr_timeout=7200", "-oentry_timeout=7200"]
        spec["fuse"] = {"args": args, "cleanPolicy": "OnDemand"}
    else:
        args = ["fuse", "--fuse-opts=kernel_cache,ro,attr_timeout=7200,entry_timeout=7200"]
        spec["fuse"] = {"args": args, "cleanPolicy": "OnDemand"}
        spec["properties"] = {
            "alluxio.user.block.size.bytes.default": "256MB",
            "alluxio.user.streaming.reader.chunk.size.bytes": "32MB",
            "alluxio.user.metadata.cache.enabled": "true",
        }
    return spec
