"""Real servers for tests: each on free loopback ports, with a folder of its own, ended by its process id.

A server can be killed and started again, always with empty data, at the same address.
"""

import asyncio
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

START_TIMEOUT_S = 10.0


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_stopped(pid: int) -> None:
    """Return when no thread of the process runs any more: the signal takes a moment."""
    give_up = time.monotonic() + START_TIMEOUT_S
    for task in Path(f"/proc/{pid}/task").iterdir():
        while (task / "stat").read_text().rpartition(")")[2].split()[0] != "T":
            assert time.monotonic() < give_up
            time.sleep(0.001)


class RealServer:
    """One server process. Subclasses say how it is started."""

    def __init__(self) -> None:
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="tandem-test-"))
        self._process: subprocess.Popen[bytes] | None = None

    def command(self, data: Path) -> list[str]:
        """The command line, with `data` as an empty folder."""
        raise NotImplementedError

    async def start(self) -> None:
        """Start with empty data; return when the port answers."""
        data = self._folder / "data"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        process = self._process = self._spawn(self.command(data))
        give_up = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"{self.command(data)[0]} did not start: {self.log()}")
            await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """End it as a power cut would. Safe to repeat."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop it from running; its sockets stay open and silent."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        wait_stopped(self._process.pid)

    def resume(self) -> None:
        """Let it run again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def aclose(self) -> None:
        """Kill it and remove its folder."""
        await self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def log(self) -> str:
        """What it has printed."""
        return (self._folder / "log").read_text(errors="replace")[-2000:]

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        if shutil.which("setpriv"):  # it dies with the test run, however that ends
            command = ["setpriv", "--pdeathsig", "KILL", *command]
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)

    def _answers(self) -> bool:
        with socket.socket() as sock:
            sock.settimeout(0.5)
            return sock.connect_ex(("127.0.0.1", self.port)) == 0


class EtcdServer(RealServer):
    """etcd with short elections, so that leases of one second are possible."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self, data: Path) -> list[str]:
        peer = f"http://127.0.0.1:{free_port()}"
        return [
            "etcd",
            *("--data-dir", str(data)),
            *("--listen-client-urls", self.url, "--advertise-client-urls", self.url),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"default={peer}"),
            *("--heartbeat-interval", "20", "--election-timeout", "200"),
            *("--logger", "zap", "--log-level", "error", "--unsafe-no-fsync"),
        ]


class NatsServer(RealServer):
    """nats-server with JetStream, unless told otherwise."""

    def __init__(self, *options: str, jetstream: bool = True, config: str = "") -> None:
        """`options` go on the command line, `config` into a file."""
        super().__init__()
        self._options = options
        self._jetstream = jetstream
        self._config = config

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def command(self, data: Path) -> list[str]:
        command = ["nats-server", "-a", "127.0.0.1", "-p", str(self.port), *self._options]
        if self._jetstream:
            command += ["-js", "-sd", str(data)]
        if self._config:
            file = self._folder / "nats.conf"
            file.write_text(self._config)
            command += ["-c", str(file)]
        return command
