"""A real S3-compatible server for tests: SeaweedFS, from the package index as one binary."""

import contextlib
import json
import shutil
import socket
import sysconfig
import threading
import time
from pathlib import Path
from typing import Any

from tests.servers import RealServer, free_port

KEY, SECRET = "test-key", "test-secret-0123456789"
READ_ONLY = ("read-key", "read-secret-0123456789")


class S3Server(RealServer):
    """Master, volumes, filer and S3 in one process. Its data is gone when it is started again."""

    def __init__(self) -> None:
        super().__init__()
        self._environ = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ENDPOINT_URL": self.url}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environ(self) -> dict[str, str]:
        """What the usual clients need to find it."""
        return {**self._environ, "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}

    def command(self, data: Path) -> list[str]:
        config = self._folder / "s3.json"
        everything = ["Admin", "Read", "Write", "List", "Tagging"]
        identities = [_identity("all", KEY, SECRET, everything), _identity("read", *READ_ONLY, ["Read", "List"])]
        config.write_text(json.dumps({"identities": identities}))
        ports = {name: free_port() for name in ("master", "volume", "filer")}
        return [
            str(Path(sysconfig.get_path("scripts"), "weed")),
            "-logtostderr=true",
            "server",
            f"-dir={data}",
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.config={config}", f"-s3.port={self.port}"),
            *(f"-{name}.port={port}" for name, port in ports.items()),
            *(f"-{name}.port.grpc={free_port()}" for name in ("master", "volume", "filer", "s3")),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false", "-volume.max=0"),
            "-master.volumeSizeLimitMB=1024",
        ]

    def up(self) -> None:
        """`start` for fixtures that are not asynchronous; returns when buckets can be made.

        Not from another thread: the server dies with the thread that has started it.
        """
        data = self._folder / "data"
        data.mkdir()
        self._process = self._spawn(self.command(data))
        give_up = time.monotonic() + 20.0
        while not self._makes_buckets():
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"SeaweedFS did not become ready: {self.log()}")
            time.sleep(0.1)

    def down(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def client(self) -> Any:
        """A plain client, to look at what lies there."""
        from botocore.session import Session

        return Session().create_client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )

    def _makes_buckets(self) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        if not self._answers():
            return False
        client = self.client()
        try:
            client.create_bucket(Bucket="models")
            client.put_object(Bucket="models", Key="ready", Body=b"yes")
            client.delete_object(Bucket="models", Key="ready")
        except (BotoCoreError, ClientError):
            return False
        finally:
            client.close()
        return True


def _identity(name: str, key: str, secret: str, actions: list[str]) -> dict[str, Any]:
    return {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}


SMALL_BYTES = 64 << 10
"""A send buffer such that what a server has handed over has, but for this, left it."""


class Gate:
    """A way to a server that lets so many bytes pass, in one direction, and then none: the moment to kill a client."""

    def __init__(
        self, port: int, *, up: int | None = None, down: int | None = None, up_bytes_s: float | None = None
    ) -> None:
        self._port = port
        self._up_bytes_s = up_bytes_s
        """How much a narrow line takes of all connections together."""
        self._free_at = 0.0
        self._left = {"up": up, "down": down}
        self.passed = {"up": 0, "down": 0}
        """Bytes so far, HTTP's own among them."""
        self._lock = threading.Lock()
        self._open = True
        self.shut = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        """Break all connections."""
        self._open = False
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while self._open:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BYTES)
            far = socket.create_connection(("127.0.0.1", self._port))
            self._sockets += [near, far]
            for ends in ((near, far, "up"), (far, near, "down")):
                thread = threading.Thread(target=self._pass, args=ends, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pass(self, source: socket.socket, target: socket.socket, way: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                with self._lock:
                    left = self._left[way]
                    if left is not None:
                        self._left[way] = left - len(data)
                        if left < len(data):
                            self.shut.set()
                    if self.shut.is_set():
                        return  # the connection stays, and nothing comes
                    self.passed[way] += len(data)
                    if way == "up" and self._up_bytes_s is not None:
                        self._free_at = max(self._free_at, time.monotonic()) + len(data) / self._up_bytes_s
                if way == "up":
                    time.sleep(max(0.0, self._free_at - time.monotonic()))
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
