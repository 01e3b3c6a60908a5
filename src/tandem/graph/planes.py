"""Plane settings become the runtime's own: etcd and NATS where they are named, the embedded hub elsewhere."""

from pathlib import Path

from tandem.runtime.settings import PlaneSettings as RuntimePlanes
from tandem.settings import PlaneSettings
from tandem.transport.address import host_of
from tandem.transport.settings import EtcdSettings, NatsSettings


def needs_hub(planes: PlaneSettings) -> bool:
    """Whether a plane is embedded."""
    return not planes.etcd_endpoints or not planes.nats_server


def mixed_notice(planes: PlaneSettings, *, reach: str = "this host") -> str | None:
    """What to say when only one of etcd and NATS is named. `reach`: who shares the embedded planes."""
    if bool(planes.etcd_endpoints) == bool(planes.nats_server):
        return None
    missing, stays = ("NATS_SERVER", "bus") if planes.etcd_endpoints else ("ETCD_ENDPOINTS", "store")
    return f"{missing} is not set: the {stays} stays embedded and reaches {reach} only"


def is_far(hub: str | None) -> bool:
    """Whether a hub's place is `host:port`, and not the path of a socket."""
    return hub is not None and "/" not in hub and ":" in hub


def store_host(planes: PlaneSettings) -> str | None:
    """The host that instances are registered at; None for a store on this machine."""
    if planes.etcd_endpoints:
        return host_of(planes.etcd_endpoints[0])
    return host_of(planes.hub_socket) if planes.hub_socket and is_far(planes.hub_socket) else None


def runtime_planes(planes: PlaneSettings, *, drain_timeout_s: float) -> RuntimePlanes:
    """What `runtime.service.connect` takes."""
    etcd = nats = None
    hub = planes.hub_socket
    if planes.etcd_endpoints:
        etcd = EtcdSettings(
            endpoints=planes.etcd_endpoints,
            username=planes.etcd_username,
            password=planes.etcd_password,
            ca_file=planes.etcd_ca,
            cert_file=planes.etcd_client_cert,
            key_file=planes.etcd_client_key,
        )
    if planes.nats_server:
        nats = NatsSettings(
            servers=tuple(part.strip() for part in planes.nats_server.split(",")),
            user=planes.nats_username,
            password=planes.nats_password,
            token=planes.nats_token,
            nkey_file=planes.nats_nkey,
            creds_file=planes.nats_credentials,
        )
    return RuntimePlanes(
        namespace=planes.namespace,
        etcd=etcd,
        nats=nats,
        hub=hub if is_far(hub) else Path(hub) if hub else None,
        hub_token=planes.group_token if is_far(hub) else None,
        lease_ttl_s=planes.lease_ttl_s,
        advertise_host=planes.advertise_host,
        drain_timeout_s=drain_timeout_s,
    )
