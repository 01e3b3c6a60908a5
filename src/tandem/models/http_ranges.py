"""Byte ranges over HTTP, from hubs that answer with a redirect to wherever the bytes lie.

The hubs' own libraries fetch a file in one stream or trust what an earlier process has left; this fetches any
range, so that parts run side by side and a kill costs none (docs/decisions/0019-model-transfers.md).
"""

import contextlib
import email.utils
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx

from tandem.errors import ConfigError, TransferFailed
from tandem.models.ports import Later
from tandem.models.receiving import bound_unread

PIECE_BYTES = 256 << 10
_MOST_REDIRECTS = 8
_LATER = {408, 425, 429, 500, 502, 503, 504}


class HttpRanges:
    """Reads ranges of URLs; remembers where a redirect led, so that the hub is asked once per file."""

    def __init__(self, name: str, headers: Mapping[str, str], *, timeout_s: float, connections: int) -> None:
        self._name = name
        self._headers = dict(headers)
        """With the token: for the hub's own host only, see `_open`."""
        try:
            self._client = httpx.Client(
                timeout=httpx.Timeout(timeout_s),
                limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
                follow_redirects=False,
            )
        except (httpx.InvalidURL, ImportError, OSError, ValueError) as error:
            # A proxy's address may hold a password: only what the system says of a file is repeated.
            why = f": {error}" if isinstance(error, OSError) else ""
            raise ConfigError(
                f"a client cannot be set up; look at HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE{why}"
            ) from error
        self._connections = connections
        self._lock = threading.Lock()
        self._lead: dict[str, str] = {}

    @contextlib.contextmanager
    def read(self, url: str, path: str, start: int, stop: int) -> Iterator[Iterator[bytes]]:
        """Bytes of a file, in pieces. Raises `TransferFailed` or `Later`, also from the pieces."""
        with self._translated(path):
            answer = self._open(url, path, start, stop)
            with contextlib.closing(answer):
                yield self._pieces(answer, path, start, stop)

    def close(self) -> None:
        """Give connections back."""
        self._client.close()

    def _open(self, url: str, path: str, start: int, stop: int) -> httpx.Response:
        """The answer that has the bytes, its body unread."""
        known = self._lead.get(url)
        target = known or url
        for _ in range(_MOST_REDIRECTS):
            own = urlsplit(target)[:2] == urlsplit(url)[:2]
            headers = {**(self._headers if own else {}), "range": f"bytes={start}-{stop - 1}"}
            headers["accept-encoding"] = "identity"
            answer = self._client.send(self._client.build_request("GET", target, headers=headers), stream=True)
            if answer.status_code in (200, 206):
                bound_unread(answer.extensions["network_stream"].get_extra_info("socket"), self._connections)
                with self._lock:
                    self._lead[url] = target
                return answer
            answer.close()  # at once: the next request may need its connection
            if answer.next_request is not None:
                target = str(answer.next_request.url)
            elif answer.status_code in (401, 403, 404) and target == known:  # a signed address has run out
                known, target = None, url
                with self._lock:
                    self._lead.pop(url, None)
            elif answer.status_code in (401, 403) and target != url:
                raise Later(f"the address that it led to answered {answer.status_code}")
            else:
                check(answer.status_code, answer.headers, f"{self._name}: {path}")
        raise TransferFailed(f"{self._name}: {path} is redirected in a circle")

    def _pieces(self, answer: httpx.Response, path: str, start: int, stop: int) -> Iterator[bytes]:
        skip = 0
        if answer.status_code == 200:
            skip = start  # no ranges here: what is there already comes again
        elif not answer.headers.get("content-range", "").startswith(f"bytes {start}-{stop - 1}/"):
            raise Later(f"it was asked for bytes {start}-{stop - 1} and sent {answer.headers.get('content-range')!r}")
        left = stop - start
        with self._translated(path):
            for piece in answer.iter_raw(PIECE_BYTES):
                kept = piece[skip:][:left]
                skip, left = max(0, skip - len(piece)), left - len(kept)
                if kept:
                    yield kept
                if not left:
                    return

    @contextlib.contextmanager
    def _translated(self, path: str) -> Iterator[None]:
        try:
            yield
        except httpx.UnsupportedProtocol as error:
            raise TransferFailed(f"{self._name}: {path} is redirected to what is no web address") from error
        except httpx.TimeoutException as error:
            raise Later("nothing came for a while") from error
        except httpx.HTTPError as error:
            raise Later(f"the connection broke ({type(error).__name__})") from error


def check(status: int, headers: Mapping[str, str], what: str) -> None:
    """Turn an HTTP status that is no success into what it means.

    Raises:
        Later: it may work in a while.
        TransferFailed: it will not.
    """
    if status < 300:
        return
    if status in _LATER:
        raise Later(f"the server answered {status}", retry_after_s=retry_after_s(headers.get("retry-after")))
    if status == 416:
        raise TransferFailed(f"{what} is shorter than listed; it has changed: run the same command again")
    reasons = {
        401: "asks for credentials",
        403: "may not be read with these credentials",
        404: "is not there",
        412: "has changed while it was read: run the same command again",
    }
    raise TransferFailed(f"{what} {reasons.get(status, f'cannot be read: the server answered {status}')}")


def retry_after_s(value: str | None, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """Seconds of a Retry-After header, which may be a number or a date; None if it is neither."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (email.utils.parsedate_to_datetime(value) - now()).total_seconds())
    except (ValueError, TypeError):
        return None
