"""A Job that pulls the model into a new volume, and the pods' wait for it."""

import hashlib
import json

from tandem.core.model_folder import MANIFEST, PULLING
from tandem.deploy.description import Description, StorageClass
from tandem.deploy.objects import NeededSecret, Object, confined_container, confined_pod, labels, made
from tandem.deploy.storage import stored_claim

_WAIT = 'until [ -e "$MODEL_PATH/$MANIFEST" ] && [ ! -e "$MODEL_PATH/$PULLING" ]; do sleep 5; done'
"""A second pull works beside the manifest of the first: half of each is no model."""


def pulled_source(wish: Description) -> str | None:
    """What is pulled, if anything is."""
    storage = wish.model.storage
    return storage.source if isinstance(storage, StorageClass) else None


def pull_secrets(wish: Description) -> list[NeededSecret]:
    """The Secret with the source's keys."""
    storage = wish.model.storage
    if not isinstance(storage, StorageClass) or storage.source_secret is None:
        return []
    return [NeededSecret(name=storage.source_secret, keys=(), why="the keys of the model's source")]


def pull_job(wish: Description) -> list[Object]:
    """The Job, if it is wanted. A Job cannot be changed, so its name says what it does: another pull is another Job.

    A second pull of a model that is whole looks at it and ends.
    """
    source = pulled_source(wish)
    if source is None:
        return []
    pod = _pod(wish, source)
    digest = hashlib.sha256(json.dumps(pod, sort_keys=True).encode()).hexdigest()[:8]
    spec = {
        "backoffLimit": 10,  # a pull goes on where the last one ended
        "template": {"metadata": {"labels": labels(wish, "pull")}, "spec": pod},
    }
    return [made("batch/v1", "Job", f"{wish.name}-pull-{digest}", wish, "pull", spec=spec)]


def _pod(wish: Description, source: str) -> Object:
    storage = wish.model.storage
    container: Object = {
        "name": "pull",
        "image": wish.image,
        "command": ["tini", "--", "tandem", "models", "pull", source, wish.model_path],
        "env": [{"name": "HOME", "value": "/tmp"}],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": {"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
        "securityContext": confined_container(),
        "volumeMounts": [{"name": "model", "mountPath": wish.model_path}, {"name": "tmp", "mountPath": "/tmp"}],
    }
    if isinstance(storage, StorageClass) and storage.source_secret:
        container["envFrom"] = [{"secretRef": {"name": storage.source_secret}}]
    pod: Object = {
        **confined_pod(),
        "restartPolicy": "OnFailure",
        "containers": [container],
        "volumes": [
            {"name": "model", "persistentVolumeClaim": {"claimName": stored_claim(wish)}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }
    if wish.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret} for secret in wish.image_pull_secrets]
    return pod


def wait_for_model(wish: Description) -> Object:
    """A container that ends when the model is whole: an engine would begin with half of one."""
    return {
        "name": "model-there",
        "image": wish.image,
        "command": ["sh", "-c", _WAIT],
        "env": [
            {"name": "MODEL_PATH", "value": wish.model_path},
            {"name": "MANIFEST", "value": MANIFEST},
            {"name": "PULLING", "value": PULLING},
        ],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": confined_container(),
        "volumeMounts": [{"name": "model", "mountPath": wish.model_path, "readOnly": True}],
    }
