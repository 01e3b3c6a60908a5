"""A TCP port taken before anybody answers on it."""

import errno
import socket

from tandem.errors import ConfigError


def take(host: str, port: int) -> socket.socket:
    """A socket that owns `port` on `host`, not yet listening: connecting is refused.

    Nobody else gets the port meanwhile, with SO_REUSEADDR or without. `let_reuse` comes before listening.

    Raises:
        ConfigError: it cannot be had; in a sentence that says what to do.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delay off only for sockets that say they are TCP: without, events wait 40 ms.
    taken = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        let_reuse(
            taken
        )  # or the connections of the last run, which the kernel remembers for a minute, would be in our way
        taken.bind((host, port))
        if port:
            _keep_others_out(taken)
    except OSError as error:
        taken.close()
        raise unusable(host, port, error) from error
    taken.setblocking(False)
    return taken


def let_reuse(taken: socket.socket) -> None:
    """Connections accepted from now on will not keep the next run from the port."""
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def unusable(host: str, port: int, error: OSError) -> ConfigError:
    """Why nobody can listen there."""
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            f"port {port} on {host} is in use by another program: stop it, or choose another with --port", param="port"
        )
    return ConfigError(f"cannot listen on {host} port {port}: {error.strerror}", param="port")


def _keep_others_out(taken: socket.socket) -> None:
    """Linux shares a port among all sockets bound with SO_REUSEADDR until one of them listens.

    The moment of listening makes it look at each next one, and without the option we are in that one's way.
    """
    taken.listen(0)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    taken.shutdown(socket.SHUT_RDWR)
