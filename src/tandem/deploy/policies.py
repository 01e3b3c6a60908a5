"""Who may talk to whom, and how many pods may go at once: NetworkPolicies and PodDisruptionBudgets."""

from tandem.deploy.description import Description
from tandem.deploy.etcd import CLIENT as ETCD_CLIENT
from tandem.deploy.etcd import PEER as ETCD_PEER
from tandem.deploy.nats import CLIENT as NATS_CLIENT
from tandem.deploy.objects import (
    COMPONENT,
    FRONT_PORT,
    INSTANCE,
    SYSTEM_PORT,
    Object,
    api_version,
    made,
    selector,
)

_DNS: Object = {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]}


def network_policies(wish: Description) -> list[Object]:
    """The services among themselves, the front door, etcd and NATS. What is not named here is refused."""
    serving, etcd, nats = (
        _serving(wish),
        {"matchLabels": selector(wish, "etcd")},
        {"matchLabels": selector(wish, "nats")},
    )
    planes = [_to(etcd, ETCD_CLIENT)] if not wish.planes.etcd.endpoints else []
    planes += [_to(nats, NATS_CLIENT)] if not wish.planes.nats.server else []
    inside = [{"from": [{"podSelector": serving}]}]
    if wish.metrics:
        prometheus = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": wish.metrics.namespace}}}
        inside.append({"from": [prometheus], "ports": _ports(SYSTEM_PORT)})
    # Planes of one's own may be anywhere: then only what comes in is limited.
    outside = wish.planes.etcd.endpoints or wish.planes.nats.server
    egress = [{}] if outside else [{"to": [{"podSelector": serving}]}, *planes, _DNS]
    found = [_policy(wish, "serving", serving, inside, egress)]
    who: list[Object] = [{"namespaceSelector": {}}] if wish.front.open_to == "cluster" else [{"podSelector": {}}]
    if wish.ingress:
        who = []  # an Ingress controller may keep its clients' addresses, which no namespace names
    front = {"ports": _ports(FRONT_PORT)} | ({"from": who} if who else {})
    found.append(_policy(wish, "front", {"matchLabels": selector(wish, "processor")}, [front]))
    if not wish.planes.etcd.endpoints:
        rules = [_from(serving, ETCD_CLIENT), _from(etcd, ETCD_PEER)]
        found.append(_policy(wish, "etcd", etcd, rules, [_to(etcd, ETCD_PEER), _DNS]))
    found.append(_policy(wish, "jobs", _of(wish, ["pull", "pre-pull"]), []))  # they fetch; nobody calls them
    if not wish.planes.nats.server:
        found.append(_policy(wish, "nats", nats, [_from(serving, NATS_CLIENT)], []))
    return found


def disruption_budgets(wish: Description, minor: int) -> list[Object]:
    """One pod of a kind at a time when nodes are emptied, and one etcd member."""
    components = [*wish.every_role(), *([] if wish.planes.etcd.endpoints else ["etcd"])]
    return [_budget(wish, component, minor) for component in components]


def _budget(wish: Description, component: str, minor: int) -> Object:
    spec: Object = {"maxUnavailable": 1, "selector": {"matchLabels": selector(wish, component)}}
    if minor >= 27:  # a pod that is broken anyway does not keep a node from being emptied
        spec["unhealthyPodEvictionPolicy"] = "AlwaysAllow"
    api = api_version("PodDisruptionBudget", minor)
    return made(api, "PodDisruptionBudget", f"{wish.name}-{component}", wish, component, spec=spec)


def _serving(wish: Description) -> Object:
    return _of(wish, list(wish.every_role()))


def _of(wish: Description, components: list[str]) -> Object:
    expression = {"key": COMPONENT, "operator": "In", "values": components}
    return {"matchLabels": {INSTANCE: wish.name}, "matchExpressions": [expression]}


def _policy(
    wish: Description, name: str, pods: Object, ingress: list[Object], egress: list[Object] | None = None
) -> Object:
    spec: Object = {"podSelector": pods, "policyTypes": ["Ingress"], "ingress": ingress}
    if egress is not None:
        spec |= {"policyTypes": ["Ingress", "Egress"], "egress": egress}
    return made("networking.k8s.io/v1", "NetworkPolicy", f"{wish.name}-{name}", wish, name, spec=spec)


def _ports(number: int) -> list[Object]:
    return [{"protocol": "TCP", "port": number}]


def _from(pods: Object, number: int) -> Object:
    return {"from": [{"podSelector": pods}], "ports": _ports(number)}


def _to(pods: Object, number: int) -> Object:
    return {"to": [{"podSelector": pods}], "ports": _ports(number)}
