"""NATS, the bus and the prefill queue: JetStream on a volume, a user with a password, no trace of messages."""

from tandem.deploy.description import Description
from tandem.deploy.objects import (
    NeededSecret,
    Object,
    confined_container,
    confined_pod,
    get_probe,
    labels,
    made,
    port,
    selector,
    service_port,
    volume_claim,
)
from tandem.deploy.quantities import size_bytes

CLIENT, MONITOR = 4222, 8222
USER_NAME = "tandem"
_CONFIG = """\
# User and password come from the Secret, by the environment.
server_name: $POD_NAME
port: {client}
http_port: {monitor}
max_payload: 8MB
authorization {{
  user: $NATS_USER
  password: $NATS_PASSWORD
  timeout: 5
}}
jetstream {{
  store_dir: /data
  max_memory_store: 256MB
  max_file_store: {file_store}
}}
"""


def nats_name(wish: Description) -> str:
    return f"{wish.name}-nats"


def nats_secret(wish: Description) -> str | None:
    """The Secret with user and password; None for a server of one's own that asks for none."""
    nats = wish.planes.nats
    return nats.secret or (None if nats.server else nats_name(wish))


def nats_url(wish: Description) -> str:
    """The value of NATS_SERVER."""
    return wish.planes.nats.server or f"nats://{nats_name(wish)}.{wish.namespace}.svc:{CLIENT}"


def needed_secrets(wish: Description) -> list[NeededSecret]:
    """The Secret that `apply` makes when nobody has."""
    name, nats = nats_secret(wish), wish.planes.nats
    if name is None:
        return []
    why = "user and password of NATS"
    return [NeededSecret(name=name, keys=("username", "password"), generated=nats.secret is None, why=why)]


def nats_config(wish: Description) -> str:
    """The server's configuration file. A tenth of the volume is left free."""
    store = size_bytes(wish.planes.nats.size) * 9 // 10
    return _CONFIG.format(client=CLIENT, monitor=MONITOR, file_store=store)


def nats_objects(wish: Description) -> list[Object]:
    """ConfigMap, Service and StatefulSet; nothing where NATS is there already."""
    if wish.planes.nats.server:
        return []
    name = nats_name(wish)
    spec = {
        "clusterIP": "None",
        "selector": selector(wish, "nats"),
        "ports": [service_port("client", CLIENT), service_port("monitor", MONITOR)],
    }
    return [
        made("v1", "ConfigMap", name, wish, "nats", data={"nats.conf": nats_config(wish)}),
        made("v1", "Service", name, wish, "nats", spec=spec),
        _stateful_set(wish, name),
    ]


def _stateful_set(wish: Description, name: str) -> Object:
    nats = wish.planes.nats
    secret = nats_secret(wish)
    container = {
        "name": "nats",
        "image": nats.image,
        "args": ["-c", "/etc/nats/nats.conf"],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "NATS_USER", "valueFrom": {"secretKeyRef": {"name": secret, "key": "username"}}},
            {"name": "NATS_PASSWORD", "valueFrom": {"secretKeyRef": {"name": secret, "key": "password"}}},
        ],
        "ports": [port("client", CLIENT), port("monitor", MONITOR)],
        "startupProbe": get_probe("/healthz", MONITOR, periodSeconds=5, failureThreshold=60),
        "readinessProbe": get_probe("/healthz", MONITOR, periodSeconds=5, failureThreshold=3),
        "livenessProbe": get_probe(
            "/healthz?js-enabled-only=true", MONITOR, periodSeconds=10, failureThreshold=6, timeoutSeconds=5
        ),
        "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": confined_container(),
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "config", "mountPath": "/etc/nats", "readOnly": True},
        ],
    }
    pod = {
        **confined_pod(),
        "terminationGracePeriodSeconds": 60,
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": name}}],
    }
    spec = {
        "serviceName": name,
        "replicas": 1,  # streams have one replica: more servers would not keep more
        "selector": {"matchLabels": selector(wish, "nats")},
        "template": {"metadata": {"labels": labels(wish, "nats")}, "spec": pod},
        "volumeClaimTemplates": [volume_claim("data", nats.size, nats.storage_class, wish, "nats")],
    }
    return made("apps/v1", "StatefulSet", name, wish, "nats", spec=spec)
