"""Where the model's files come from: Secret, PersistentVolume, claim. The guide's first step."""

from tandem.deploy.description import Claim, Description, HostPath, Nfs, Oss, StorageClass
from tandem.deploy.objects import NeededSecret, Object, Step, made

OSS_ENVIRONMENT = ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET")


def model_volume(wish: Description) -> str:
    """Name of the model's volume and claim. Volumes belong to no namespace, so it is part of the name."""
    return f"{wish.namespace}-{wish.name}-model"


def stored_claim(wish: Description) -> str:
    """Name of the claim that holds the model's files as they are stored."""
    storage = wish.model.storage
    return storage.claim if isinstance(storage, Claim) else f"{wish.name}-model"


def mounted_claim(wish: Description) -> str:
    """Name of the claim that pods mount: Fluid's, which is called as its Dataset, where there is a cache."""
    return f"{wish.name}-cache" if wish.model.cache else stored_claim(wish)


def storage_step(wish: Description) -> Step:
    """Objects of the stored model; none with a claim that is there already, or where Fluid mounts the bucket itself."""
    storage = wish.model.storage
    secrets = []
    if isinstance(storage, Oss):
        why = "the keys of the bucket"
        secrets = [NeededSecret(name=storage.secret, keys=("akId", "akSecret"), environment=OSS_ENVIRONMENT, why=why)]
    return Step(name="model", about="where the model's files are", objects=_objects(wish), secrets=secrets)


def _objects(wish: Description) -> list[Object]:
    storage, name = wish.model.storage, model_volume(wish)
    if isinstance(storage, Claim) or (isinstance(storage, Oss) and wish.model.cache):
        return []
    if isinstance(storage, StorageClass):
        spec: Object = {
            "accessModes": [storage.access_mode],
            "resources": {"requests": {"storage": storage.size}},
        }
        if storage.storage_class:
            spec["storageClassName"] = storage.storage_class
        return [made("v1", "PersistentVolumeClaim", stored_claim(wish), wish, "model", spec=spec)]
    volume = made("v1", "PersistentVolume", name, wish, "model")
    del volume["metadata"]["namespace"]
    volume["spec"] = {
        "capacity": {"storage": storage.size},
        "accessModes": ["ReadOnlyMany"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "",
        # Reserved for our claim: no other can take it.
        "claimRef": {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": wish.namespace,
            "name": stored_claim(wish),
        },
        **_source(storage, wish),
    }
    claim_spec = {
        "accessModes": ["ReadOnlyMany"],
        "resources": {"requests": {"storage": storage.size}},
        "storageClassName": "",
        "volumeName": name,
    }
    return [volume, made("v1", "PersistentVolumeClaim", stored_claim(wish), wish, "model", spec=claim_spec)]


def _source(storage: Oss | Nfs | HostPath, wish: Description) -> Object:
    match storage:
        case Oss():
            return {"csi": oss_source(storage, model_volume(wish), wish.namespace)}
        case Nfs():
            nfs = {"server": storage.server, "path": storage.path, "readOnly": True}
            return {"nfs": nfs, "mountOptions": list(storage.mount_options)}
        case HostPath():
            return {"hostPath": {"path": storage.path, "type": "Directory"}}


def oss_source(storage: Oss, handle: str, namespace: str) -> Object:
    """The CSI source of a bucket's directory."""
    return {
        "driver": "ossplugin.csi.alibabacloud.com",
        "volumeHandle": handle,
        "readOnly": True,
        "nodePublishSecretRef": {"name": storage.secret, "namespace": namespace},
        "volumeAttributes": {
            "bucket": storage.bucket,
            "url": storage.endpoint,
            "otherOpts": storage.options,
            "path": storage.path,
        },
    }
