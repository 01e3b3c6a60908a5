"""What clients reach: the Service of the front door, and an Ingress or a Gateway's route to it."""

from tandem.deploy.description import Description, Gateway, Ingress
from tandem.deploy.objects import FRONT_PORT, Object, made, selector, service_port


def front_service(wish: Description) -> Object:
    """The Service, called as the description."""
    spec = {
        "type": "ClusterIP",
        "ports": [service_port("http", FRONT_PORT)],
        "selector": selector(wish, "processor"),
    }
    return made("v1", "Service", wish.name, wish, "processor", spec=spec)


def routes(wish: Description) -> list[Object]:
    """None, one Ingress, or one HTTPRoute."""
    match wish.ingress:
        case Ingress() as ingress:
            return [_ingress(wish, ingress)]
        case Gateway() as gateway:
            return [_http_route(wish, gateway)]
        case None:
            return []


def _ingress(wish: Description, ingress: Ingress) -> Object:
    backend = {"service": {"name": wish.name, "port": {"number": FRONT_PORT}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    spec: Object = {"rules": [{"host": ingress.host, "http": {"paths": [path]}}]}
    if ingress.class_name:
        spec["ingressClassName"] = ingress.class_name
    if ingress.tls_secret:
        spec["tls"] = [{"hosts": [ingress.host], "secretName": ingress.tls_secret}]
    found = made("networking.k8s.io/v1", "Ingress", wish.name, wish, "processor", spec=spec)
    # Answers are streams of minutes; controllers of nginx buffer and cut them unless told.
    found["metadata"]["annotations"] = {
        "nginx.ingress.kubernetes.io/proxy-buffering": "off",
        "nginx.ingress.kubernetes.io/proxy-read-timeout": "600",
        "nginx.ingress.kubernetes.io/proxy-body-size": "16m",
        **ingress.annotations,
    }
    return found


def _http_route(wish: Description, gateway: Gateway) -> Object:
    parent: Object = {"name": gateway.gateway}
    if gateway.gateway_namespace:
        parent["namespace"] = gateway.gateway_namespace
    if gateway.listener:
        parent["sectionName"] = gateway.listener
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "backendRefs": [{"name": wish.name, "port": FRONT_PORT}],
    }
    spec = {"parentRefs": [parent], "hostnames": [gateway.host], "rules": [rule]}
    return made("gateway.networking.k8s.io/v1", "HTTPRoute", wish.name, wish, "processor", spec=spec)
