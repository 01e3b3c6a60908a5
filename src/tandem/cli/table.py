"""Columns of text, and the system ports that `status` and `trace` ask."""

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from urllib.parse import urlsplit

from tandem.errors import ConfigError
from tandem.graph.runtime_dir import entries, runtime_dir

_TIMEOUT_S = 5.0


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, two spaces apart."""
    widths = [max(len(row[n]) for row in [head, *rows]) for n in range(len(head))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]]
    return "\n".join(line.rstrip() for line in lines)


def system_urls(given: Sequence[str]) -> list[str]:
    """The system ports to ask: those given, else those of every `tandem serve` of this user on this host.

    Raises:
        ConfigError: none runs here.
    """
    if given:
        return [url if "://" in url else f"http://{url}" for url in given]
    folder = runtime_dir(os.environ.get("TANDEM_RUNTIME_DIR"), os.environ)
    found = [f"http://127.0.0.1:{entry['system_port']}" for entry in entries(folder)]
    if not found:
        raise ConfigError("no `tandem serve` of this user runs on this host; name one with --url http://HOST:9347")
    return found


def no_system_port(url: str) -> ConfigError:
    """What to say of an address that is something else, such as a front door."""
    return ConfigError(f"{urlsplit(url).netloc} is no system port of `tandem serve`; the usual one is 9347")


def is_system_port(url: str) -> bool:
    """Whether a system port answers there."""
    return (fetch(f"{url.rstrip('/')}/live") or b"").strip() == b"live"


def fetch(url: str) -> bytes | None:
    """A page, or None when it is not there. Never through a proxy: these are our own hosts."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_TIMEOUT_S) as answer:
            body: bytes = answer.read()
            return body
    except urllib.error.HTTPError:
        return None
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", error)
        why = getattr(cause, "strerror", None) or cause
        raise ConfigError(f"{urlsplit(url).netloc} does not answer: {why}") from error
