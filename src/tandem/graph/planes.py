"""Plane settings become the runtime's own: etcd and NATS where they are named, the embedded hub elsewhere."""

from pathlib import Path

from tandem.runtime.settings import PlaneSettings as RuntimePlanes
from tandem.settings import PlaneSettings
from tandem.transport.settings import EtcdSettings, NatsSettings


def needs_hub(planes: PlaneSettings) -> bool:
    """Whether a plane is embedded."""
    return not planes.etcd_endpoints or not planes.nats_server


def mixed_notice(planes: PlaneSettings) -> str | None:
    """What to say when only one of etcd and NATS is named."""
    if bool(planes.etcd_endpoints) == bool(planes.nats_server):
        return None
    missing, stays = ("NATS_SERVER", "bus") if planes.etcd_endpoints else ("ETCD_ENDPOINTS", "store")
    return f"{missing} is not set: the {stays} stays embedded and reaches this host only"


def runtime_planes(planes: PlaneSettings, hub_socket: str | None, *, drain_timeout_s: float) -> RuntimePlanes:
    """What `runtime.service.connect` takes."""
    etcd = nats = None
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
        hub=Path(hub_socket) if hub_socket else None,
        lease_ttl_s=planes.lease_ttl_s,
        advertise_host=planes.advertise_host,
        drain_timeout_s=drain_timeout_s,
    )
