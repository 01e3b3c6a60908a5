"""Addresses of the request plane: `host:port`, `[v6]:port` or `unix:/path`, and which one to advertise."""

import asyncio
import ipaddress
import socket
from urllib.parse import urlsplit

from tandem.errors import ConfigError

# TEST-NET-1: never sent to (a UDP connect sends nothing), it only makes the kernel pick the default route.
_ANYWHERE = "192.0.2.1"


def format_address(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 host."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_address(address: str) -> tuple[str, int] | str:
    """(host, port), or the path of a Unix socket. Raises `ConfigError` on anything else."""
    if address.startswith("unix:"):
        return address.removeprefix("unix:")
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal():
        raise ConfigError(f"{address!r} is no address: expected host:port or unix:/path")
    return host.strip("[]"), int(port)


def host_of(url: str) -> str:
    """The host of `scheme://[user@]host[:port]` or of a bare `host[:port]`."""
    return urlsplit(url if "://" in url else f"//{url}").hostname or ""


def is_loopback(host: str) -> bool:
    """Whether `host` means this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def source_address(towards: str) -> str:
    """Our own address as seen on the route to the host `towards`; sends nothing.

    A name that does not resolve (yet) falls back to the default route, and without any route to loopback.
    """
    loop = asyncio.get_running_loop()
    for target in (towards, _ANYWHERE):
        try:
            async with asyncio.timeout(3):
                found = await loop.getaddrinfo(target, 9, type=socket.SOCK_DGRAM)
        except (OSError, TimeoutError, UnicodeError):
            continue
        for family, kind, proto, _, where in found:
            try:
                with socket.socket(family, kind, proto) as probe:
                    probe.connect(where)
                    return str(probe.getsockname()[0])
            except OSError:
                continue
    return "127.0.0.1"
