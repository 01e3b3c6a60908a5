"""Addresses that may hold a user and a password: taken apart, so that no message or log repeats them."""

from typing import NamedTuple
from urllib.parse import unquote, urlsplit


class Address(NamedTuple):
    """`scheme://user:password@host:port`, taken apart."""

    bare: str
    """Without user and password: safe to show."""
    user: str | None
    password: str | None


def taken_apart(url: str) -> Address:
    """Everything up to the last `@` is user and password, also where a password holds `/`, `:` or `@`."""
    scheme, mark, rest = url.partition("://") if "://" in url else ("", "", url)
    who, at, host = rest.rpartition("@")
    if not at:
        return Address(url, None, None)
    user, colon, password = who.partition(":")
    return Address(f"{scheme}{mark}{host}", unquote(user), unquote(password) if colon else None)


def shown(urls: str) -> str:
    """Comma-separated addresses as they may be printed."""
    return ",".join(taken_apart(url).bare for url in urls.split(","))


def is_http_address(url: str) -> bool:
    """Whether a client can ask there: `http://` or `https://`, a host, and a port that can be."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
