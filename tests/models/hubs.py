"""Small HTTP servers that answer as the hubs' documented APIs do, and misbehave when told to."""

import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.stores import SMALL_BYTES

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Trouble = Callable[["Handler"], bool]
"""Answers a request in its own way and says so, or lets it pass."""


class Hub:
    """One repository, `org/name`, on both hubs' paths; its bytes lie behind a redirect to a signed address."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.troubles: list[Trouble] = []
        """Each is asked for every request, in order, until one has answered it."""
        self.requests: list[str] = []
        self.sent_bytes = 0
        self.asked_bytes = 0
        """By ranges."""
        self.token = ""
        """What it asks for, if anything."""
        self.seen_tokens: list[tuple[str, str]] = []
        """Path and credentials of every request that carried some."""
        self._lock = threading.Lock()
        hub = self

        class Bound(Handler):
            pass

        Bound.hub = hub
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def count(self, sent: int, *, asked: int = 0) -> None:
        with self._lock:
            self.sent_bytes += sent
            self.asked_bytes += asked

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Handler(BaseHTTPRequestHandler):
    """Listing, redirect and ranged bytes."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BYTES)  # `sent_bytes` have left us
        super().setup()

    def do_GET(self) -> None:
        self.hub.requests.append(self.path)
        for header in ("authorization", "cookie"):
            if value := self.headers.get(header):
                self.hub.seen_tokens.append((self.path, value))
        if any(trouble(self) for trouble in list(self.hub.troubles)):
            return
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/signed/"):
            self.bytes(path.removeprefix("/signed/"))
        elif self.hub.token and self.hub.token not in str(self.headers):
            self.status(401)
        elif path.startswith("/api/models/org/name"):
            self.json(self._hugging_face())
        elif path.startswith(f"/org/name/resolve/{COMMIT}/"):
            self.redirect(path.removeprefix(f"/org/name/resolve/{COMMIT}/"))
        elif path == "/api/v1/models/org/name/repo/files":
            self.json({"Code": 200, "Success": True, "Data": {"Files": self._modelscope()}})
        elif path == "/api/v1/models/org/name/repo":
            self.redirect(parse_qs(urlsplit(self.path).query)["FilePath"][0])
        else:
            self.status(404)

    def json(self, value: Any) -> bool:
        return self.text(json.dumps(value), "application/json")

    def text(self, text: str, kind: str = "text/html") -> bool:
        body = text.encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return True

    def status(self, status: int, **headers: str) -> bool:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", "0")
        self.end_headers()
        return True

    def redirect(self, name: str) -> None:
        # To another host name: whoever follows must leave its token behind.
        port = self.hub.url.rpartition(":")[2]
        self.status(302, location=f"http://localhost:{port}/signed/{quote(name)}?signature=secret-signature")

    def bytes(self, name: str, *, stop_after: int | None = None, status: int = 206) -> bool:
        body = self.hub.files[name]
        start, _, stop = self.headers["range"].removeprefix("bytes=").partition("-")
        if int(start) >= len(body):
            return self.status(416)
        part = body[int(start) : int(stop) + 1]
        self.hub.count(0, asked=len(part))
        self.send_response(status)
        if status == 206:
            self.send_header("content-range", f"bytes {start}-{int(start) + len(part) - 1}/{len(body)}")
        else:
            part = body
        self.send_header("content-length", str(len(part)))
        self.end_headers()
        rest = memoryview(part)[:stop_after]
        while rest:
            self.hub.count(self.wfile.write(rest[: 1 << 16]))
            rest = rest[1 << 16 :]
        if stop_after is not None:
            self.close_connection = True
        return True

    def hang(self, seconds: float) -> bool:
        time.sleep(seconds)
        self.close_connection = True
        return True

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:  # the client was killed
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def _hugging_face(self) -> dict[str, Any]:
        siblings = []
        for name, body in self.hub.files.items():
            large = name.endswith(".safetensors")
            entry: dict[str, Any] = {"rfilename": name, "size": len(body), "blobId": _git(body)}
            if large:
                entry["lfs"] = {"sha256": _sha256(body), "size": len(body), "pointerSize": 134}
            siblings.append(entry)
        return {"id": "org/name", "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}

    def _modelscope(self) -> list[dict[str, Any]]:
        return [
            {"Path": name, "Name": name, "Size": len(body), "Sha256": _sha256(body), "Type": "blob"}
            for name, body in self.hub.files.items()
        ]


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _git(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
