"""etcd, where instances find each other: three members, each with a volume of its own."""

from tandem.deploy.description import Description
from tandem.deploy.objects import (
    Object,
    apart,
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

CLIENT, PEER, METRICS = 2379, 2380, 2381


def etcd_name(wish: Description) -> str:
    return f"{wish.name}-etcd"


def etcd_endpoints(wish: Description) -> str:
    """The value of ETCD_ENDPOINTS: every member by its own name, so that a client has somewhere else to go."""
    given = wish.planes.etcd.endpoints
    return ",".join(given or [f"http://{_host(wish, index)}:{CLIENT}" for index in range(wish.planes.etcd.members)])


def etcd_objects(wish: Description) -> list[Object]:
    """Service and StatefulSet; nothing where etcd is there already."""
    if wish.planes.etcd.endpoints:
        return []
    name = etcd_name(wish)
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,  # members find each other before they are ready
        "selector": selector(wish, "etcd"),
        "ports": [service_port("client", CLIENT), service_port("peer", PEER)],
    }
    return [made("v1", "Service", name, wish, "etcd", spec=spec), _stateful_set(wish, name)]


def _host(wish: Description, index: int | str) -> str:
    name = etcd_name(wish)
    return f"{name}-{index}.{name}.{wish.namespace}.svc"


def _stateful_set(wish: Description, name: str) -> Object:
    etcd = wish.planes.etcd
    container = {
        "name": "etcd",
        "image": etcd.image,
        "command": ["/usr/local/bin/etcd"],
        "env": _env(wish, name),
        "ports": [port("client", CLIENT), port("peer", PEER), port("metrics", METRICS)],
        "startupProbe": get_probe("/readyz", METRICS, periodSeconds=5, failureThreshold=60),
        "readinessProbe": get_probe("/readyz", METRICS, periodSeconds=5, failureThreshold=3),
        "livenessProbe": get_probe("/livez", METRICS, periodSeconds=10, failureThreshold=6, timeoutSeconds=5),
        "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": confined_container(),
        "volumeMounts": [{"name": "data", "mountPath": "/var/lib/etcd"}],
    }
    pod = {
        **confined_pod(),
        "terminationGracePeriodSeconds": 30,
        "affinity": apart(wish, "etcd"),
        "containers": [container],
    }
    spec = {
        "serviceName": name,
        "replicas": etcd.members,
        "podManagementPolicy": "Parallel",  # a member is ready only when a majority is there
        "selector": {"matchLabels": selector(wish, "etcd")},
        "template": {"metadata": {"labels": labels(wish, "etcd")}, "spec": pod},
        "volumeClaimTemplates": [volume_claim("data", etcd.size, etcd.storage_class, wish, "etcd")],
    }
    return made("apps/v1", "StatefulSet", name, wish, "etcd", spec=spec)


def _env(wish: Description, name: str) -> list[Object]:
    ours = _host(wish, "INDEX").replace(f"{name}-INDEX", "$(POD_NAME)")
    members = [f"{name}-{i}=http://{_host(wish, i)}:{PEER}" for i in range(wish.planes.etcd.members)]
    values = {
        "ETCD_NAME": "$(POD_NAME)",
        "ETCD_DATA_DIR": "/var/lib/etcd/data",
        "ETCD_LISTEN_CLIENT_URLS": f"http://0.0.0.0:{CLIENT}",
        "ETCD_ADVERTISE_CLIENT_URLS": f"http://{ours}:{CLIENT}",
        "ETCD_LISTEN_PEER_URLS": f"http://0.0.0.0:{PEER}",
        "ETCD_INITIAL_ADVERTISE_PEER_URLS": f"http://{ours}:{PEER}",
        "ETCD_LISTEN_METRICS_URLS": f"http://0.0.0.0:{METRICS}",
        "ETCD_INITIAL_CLUSTER": ",".join(members),
        "ETCD_INITIAL_CLUSTER_STATE": "new",
        "ETCD_INITIAL_CLUSTER_TOKEN": f"{wish.namespace}-{name}",
        "ETCD_AUTO_COMPACTION_MODE": "periodic",
        "ETCD_AUTO_COMPACTION_RETENTION": "1h",  # load reports do not go there; registrations change rarely
    }
    pod_name: Object = {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    return [pod_name, *({"name": key, "value": value} for key, value in values.items())]
