"""Settings → adapters: which store and bus to open, where to listen, what to advertise."""

from dataclasses import dataclass
from pathlib import Path

from tandem.errors import ConfigError
from tandem.runtime.settings import PlaneSettings
from tandem.transport.address import format_address, host_of, is_loopback, source_address
from tandem.transport.embedded import EmbeddedBus, EmbeddedHub, EmbeddedStore
from tandem.transport.embedded_remote import HubConnection, RemoteStore
from tandem.transport.embedded_remote_bus import RemoteBus
from tandem.transport.etcd import EtcdStore
from tandem.transport.nats import NatsBus
from tandem.transport.ports import Bus, Store
from tandem.transport.tcp import TcpRequestServer


@dataclass(frozen=True, slots=True)
class Planes:
    """What `open_planes` opened; whoever asked for it closes it."""

    store: Store
    bus: Bus
    described: str
    """For the log: which is which."""
    spare: Store | None = None
    """A second store of instances, which finds them while `store` is late or away."""


async def open_planes(settings: PlaneSettings) -> Planes:
    """The adapters that `settings` name. Waits for no server: they connect as servers come. Raises `ConfigError`."""
    if settings.hub is None and (settings.etcd is None or settings.nats is None):
        missing = "etcd" if settings.etcd is None else "nats"
        raise ConfigError(f"{missing} is not set and no embedded hub is given in its place")
    hub = settings.hub
    remote = HubConnection(hub, settings.requests, token=settings.hub_token) if isinstance(hub, Path | str) else None
    store: Store
    bus: Bus
    if settings.etcd is not None:
        store = EtcdStore(settings.etcd)
    elif remote is not None:
        store = RemoteStore(remote)
    else:
        assert isinstance(hub, EmbeddedHub)
        store = EmbeddedStore(hub)
    if settings.nats is not None:
        bus = NatsBus(settings.nats)
    elif remote is not None:
        bus = RemoteBus(remote)
    else:
        assert isinstance(hub, EmbeddedHub)
        bus = EmbeddedBus(hub)
    words = f"store={'etcd' if settings.etcd else 'embedded'} bus={'nats' if settings.nats else 'embedded'}"
    if remote is None or remote.local:
        return Planes(store, bus, words)
    return Planes(store, bus, f"{words} hub={hub}", RemoteStore(remote) if settings.etcd is not None else None)


async def request_server(settings: PlaneSettings, identity: str) -> TcpRequestServer:
    """The listener that `settings` describe, not started.

    The advertised host is our source address on the route to the store, so it is loopback only where the
    store is: then everybody is on this machine.
    """
    advertised = settings.advertise_host
    if advertised is None:
        far = settings.hub if isinstance(settings.hub, str) else "127.0.0.1"
        store_host = host_of(settings.etcd.endpoints[0] if settings.etcd else far)
        advertised = "127.0.0.1" if is_loopback(store_host) else await source_address(store_host)
    listen_host = settings.listen_host
    if listen_host is None:
        everywhere = "::" if ":" in advertised else "0.0.0.0"
        listen_host = "127.0.0.1" if is_loopback(advertised) else everywhere
    return TcpRequestServer(
        format_address(listen_host, settings.listen_port),
        advertise_host=advertised,
        identity=identity,
        settings=settings.requests,
    )
