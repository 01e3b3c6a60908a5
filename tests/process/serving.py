"""Real `tandem serve` processes for tests: each test has its own runtime folder and free ports."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
from tests.servers import free_port as free_port

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "llm"
MODEL = ROOT / "models" / "tiny-qwen3"


def eventually(check: Callable[[], T], timeout_s: float = 30.0, what: str = "") -> T:
    """The first true value of `check`."""
    until = time.monotonic() + timeout_s
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < until, f"not within {timeout_s} s: {what or check}"
        time.sleep(0.03)


class Serve:
    """One `tandem serve`."""

    def __init__(self, arguments: list[str], *, cwd: Path, env: dict[str, str], log: Path, system_port: int) -> None:
        self.system_port = system_port
        self._log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tandem.cli.main", *arguments],
                cwd=cwd,
                env=env,
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    @property
    def log(self) -> str:
        """Everything it has said."""
        return self._log.read_text(errors="replace")

    def get(self, path: str) -> tuple[int, str]:
        """A page of its system port; status 0 while nobody answers."""
        return fetch(f"http://127.0.0.1:{self.system_port}{path}")

    def status(self) -> dict[str, Any]:
        """Its /status."""
        code, body = self.get("/status")
        return json.loads(body) if code == 200 else {}

    def wait_ready(self, timeout_s: float = 30.0) -> "Serve":
        """Return when /ready says so."""
        try:
            eventually(lambda: self.process.poll() is not None or self.get("/ready")[0] == 200, timeout_s, "ready")
            assert self.process.poll() is None, f"ended with {self.process.returncode}"
        except AssertionError as failed:
            raise AssertionError(f"{failed}\n{self.log}") from None
        return self

    def said(self, text: str, timeout_s: float = 30.0) -> None:
        """Return when its log holds `text`."""
        try:
            eventually(lambda: text in self.log, timeout_s, text)
        except AssertionError as failed:
            raise AssertionError(f"{failed}\n{self.log}") from None

    def pid_of(self, name: str) -> int:
        """The process called `name`."""
        pid: int = next(each["pid"] for each in self.status()["processes"] if each["name"] == name)
        return pid

    def family(self) -> list[psutil.Process]:
        """It and all its descendants."""
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        return []

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 30.0) -> int:
        """Signal it and wait for its end; returns the exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout_s)


class Host:
    """A machine of one's own: a runtime folder, an environment, and what is served in it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="td-"))
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("DYN", "TANDEM", "ETCD", "NATS"))
        }
        self.env = {
            **kept,
            "XDG_RUNTIME_DIR": str(self.folder),
            "TMPDIR": str(self.folder),
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": str(ROOT / "src"),
        }
        self.serves: list[Serve] = []

    def serve(
        self, *arguments: str, cwd: Path | None = None, system_port: int = 0, env: dict[str, str] | None = None
    ) -> Serve:
        """Start a `tandem serve`."""
        return self.run("serve", *arguments, cwd=cwd, system_port=system_port, env=env)

    def run(
        self, *arguments: str, cwd: Path | None = None, system_port: int = 0, env: dict[str, str] | None = None
    ) -> Serve:
        """Start any command that serves."""
        log = self.folder / f"serve-{len(self.serves)}.log"
        port = system_port or free_port()
        merged = {**self.env, "TANDEM_SYSTEM_PORT": str(port), **(env or {})}
        serve = Serve(list(arguments), cwd=cwd or self.folder, env=merged, log=log, system_port=port)
        self.serves.append(serve)
        return serve

    def command(self, *arguments: str) -> str:
        """What a command that ends prints."""
        command = [sys.executable, "-m", "tandem.cli.main", *arguments]
        return subprocess.run(command, env=self.env, check=True, capture_output=True, text=True).stdout

    def write(self, name: str, text: str) -> Path:
        """A file in the working folder."""
        path = self.folder / name
        path.write_text(text)
        return path

    def close(self) -> None:
        """End everything; a process that is left over fails the test."""
        families = [process for serve in self.serves for process in serve.family()]
        for serve in self.serves:
            if serve.process.poll() is None:
                serve.process.kill()
            serve.process.wait(10)
        # That they end is what counts here, not how soon: each has SIGKILL pending by now or ends by itself within a
        # second of CPU time, which a machine that starves them gives them late. Tests of their own ask how soon.
        left = still_there(families, timeout_s=30)
        what = [described(process) for process in left]
        for process in left:
            process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        assert not left, f"left over: {what}"


def described(process: psutil.Process) -> str:
    """What a process is, and what it is doing."""
    try:
        return f"{process.pid} {process.status()} {shlex.join(process.cmdline())} (parent {process.ppid()})"
    except psutil.NoSuchProcess:
        return f"{process.pid} gone by now"


def still_there(processes: list[psutil.Process], timeout_s: float = 3.0) -> list[psutil.Process]:
    """Those that have not ended in time. A zombie has ended: only its parent has not looked yet."""

    def alive() -> list[psutil.Process]:
        found = []
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    until = time.monotonic() + timeout_s
    while left := alive():
        if time.monotonic() > until:
            break
        time.sleep(0.02)
    return left


def fetch(url: str, body: dict[str, Any] | None = None, timeout_s: float = 10.0) -> tuple[int, str]:
    """GET, or POST of JSON; status 0 when nobody answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except (OSError, TimeoutError):
        return 0, ""


@pytest.fixture
def host() -> Iterator[Host]:
    """A fresh `Host`."""
    made = Host()
    try:
        yield made
    finally:
        made.close()
