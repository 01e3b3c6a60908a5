"""What hubs, and stores, have in common where an answer or an address is not what it should be. Pure.

A hub's client trusts what it reads. A page of a proxy, a mirror that leaves fields out, a variable that holds
something else: each is one sentence here, and nothing of it is taken for a model.
"""

import contextlib
from collections.abc import Iterator

from tandem.core.userinfo import is_http_address
from tandem.errors import ConfigError, TransferFailed
from tandem.models.ports import RemoteFile


def check_address(variable: str, address: str) -> None:
    """Refuse what no client can ask.

    Raises:
        ConfigError: it is no HTTP address. It may hold a password, and is not repeated.
    """
    if not is_http_address(address):
        raise ConfigError(f"{variable} is no address: http://HOST[:PORT] or https://HOST[:PORT]")


def check_token(variable: str, token: str | None) -> None:
    """Refuse what no header can carry. Raises `ConfigError`, without the token."""
    if token and not (token.isascii() and token.isprintable()):
        raise ConfigError(f"{variable} is no token: it holds a character that none has")


@contextlib.contextmanager
def understood(name: str, variable: str) -> Iterator[None]:
    """Around all that reads a list: whatever a client trips over in an answer becomes `TransferFailed`."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise TransferFailed(f"{name}: what came is no list of a model's files; {_advice(variable)}") from error


def nowhere(name: str, variable: str) -> TransferFailed:
    """The error for a redirect in a circle, or to what is no web address."""
    return TransferFailed(f"{name}: the list is redirected to nowhere; {_advice(variable)}")


def unreached(variable: str) -> str:
    """What to say when nobody is there."""
    return f"no connection to the hub (see {variable}, and a proxy on the way)"


def listed(path: object, size: object, *, sha256: object = "", git_blob: object = "", version: str) -> RemoteFile:
    """A file of a list.

    Raises:
        ValueError: without a name or a size, an empty file would be taken for the whole one.
    """
    if not isinstance(path, str) or not path or type(size) is not int or size < 0:
        raise ValueError(f"a file {path!r} of {size!r} bytes")
    if not isinstance(sha256, str) or not isinstance(git_blob, str):
        raise ValueError(f"{path} with the hash {sha256 or git_blob!r}")
    return RemoteFile(path=path, size=size, sha256=sha256.lower(), git_blob=git_blob, version=version)


def _advice(variable: str) -> str:
    return f"look at {variable}, and at a proxy on the way"
