"""Which planes a process joins and how others reach it, as one frozen value."""

from dataclasses import dataclass, field
from pathlib import Path

from tandem.transport.embedded import EmbeddedHub
from tandem.transport.settings import EtcdSettings, NatsSettings, RequestPlaneSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneSettings:
    """Settings of `runtime.service.connect`. A plane without its own server uses `hub`."""

    namespace: str = "default"
    """Deployments of different namespaces never see each other."""

    etcd: EtcdSettings | None = None
    """The store; None: the embedded one."""

    nats: NatsSettings | None = None
    """The bus and the work queues; None: the embedded ones."""

    hub: EmbeddedHub | Path | str | None = None
    """The embedded planes: a hub in this process, or where the process that hosts it listens: a Unix socket, or
    `host:port` when it is on another host. Such a one also holds our instances beside etcd."""

    hub_token: str | None = field(default=None, repr=False)
    """What a hub on another host wants of its callers, if it does."""

    lease_ttl_s: float = 10.0
    """How long after its death an instance is still found. Also how long one that the store forgot stays. Seconds."""

    listen_host: str | None = None
    """Where to listen for calls; None: loopback when the store is on it, else every interface."""

    listen_port: int = 0
    """0: any free port."""

    advertise_host: str | None = None
    """The host that others dial; None: our source address on the route to the store."""

    drain_timeout_s: float = 30.0
    """How long a stop waits for calls that are running. Seconds."""

    requests: RequestPlaneSettings = field(default_factory=RequestPlaneSettings)
    """Limits and pulse of the request plane."""
