"""The image, and if wished the weights, on every node that may get a worker: a DaemonSet.

A Job would reach the nodes of today; a DaemonSet also reaches the one that the cluster autoscaler adds in an hour,
which is where a cold pull hurts. Its pods ask for next to nothing once their work is done.
"""

from tandem.deploy.description import Description, PrePull
from tandem.deploy.objects import Object, confined_container, confined_pod, labels, made, selector
from tandem.deploy.storage import mounted_claim

_READ = 'for file in "$MODEL_PATH"/*.safetensors; do cat "$file" > /dev/null; done'


def pre_pull(wish: Description) -> list[Object]:
    """The DaemonSet, if it is wanted."""
    if wish.pre_pull is None:
        return []
    name = f"{wish.name}-pre-pull"
    meta: Object = {"labels": labels(wish, "pre-pull")}
    spec = {
        "selector": {"matchLabels": selector(wish, "pre-pull")},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
        "template": {"metadata": meta, "spec": _pod(wish, wish.pre_pull)},
    }
    return [made("apps/v1", "DaemonSet", name, wish, "pre-pull", spec=spec)]


def _pod(wish: Description, rule: PrePull) -> Object:
    small = {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}}
    base: Object = {"image": wish.image, "securityContext": confined_container()}
    pod: Object = {
        **confined_pod(),
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "hold", **base, "command": ["sleep", "infinity"], "resources": small}],
    }
    if rule.weights:
        mount = {"name": "model", "mountPath": wish.model_path, "readOnly": True}
        env = [{"name": "MODEL_PATH", "value": wish.model_path}]
        reader: Object = {"name": "weights", **base, "command": ["sh", "-c", _READ], "env": env}
        reader["resources"] = {"requests": {"cpu": "500m", "memory": "64Mi"}}
        pod["initContainers"] = [reader | {"volumeMounts": [mount]}]
        claim = {"claimName": mounted_claim(wish), "readOnly": True}
        pod["volumes"] = [{"name": "model", "persistentVolumeClaim": claim}]
    if rule.node_selector:
        pod["nodeSelector"] = dict(rule.node_selector)
    if rule.tolerations:
        pod["tolerations"] = list(rule.tolerations)
    if wish.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret} for secret in wish.image_pull_secrets]
    return pod
