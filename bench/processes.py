"""A command and everything it started: memory, CPU, readiness, end. Read from /proc, by process id."""

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """CPU seconds that a process has used; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


class Served:
    """A `tandem` command that serves HTTP on `port`, in a session of its own.

    Args:
        log: file that its output goes to.
    """

    def __init__(self, command: Sequence[str], *, port: int, log: Path, cwd: Path | None = None, **env: str) -> None:
        self.port = port
        self._log = log
        self.started_at = time.monotonic()
        self._process = subprocess.Popen(
            command, stdout=log.open("wb"), stderr=subprocess.STDOUT, cwd=cwd, env={**os.environ, **env},
            start_new_session=True,
        )  # fmt: skip

    def wait_ready(self, timeout_s: float = 180.0) -> float:
        """Seconds from start to the first `/ready` that says 200. Raises RuntimeError with the log's end."""
        while time.monotonic() - self.started_at < timeout_s:
            if self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready", timeout=1.0):
                    return time.monotonic() - self.started_at
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])
        self.stop()
        raise RuntimeError(f"not ready within {timeout_s:g} s:\n{tail}")

    def pids(self) -> list[int]:
        """Its process and all descendants."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except OSError:
                    continue
                children.setdefault(parent, []).append(int(entry.name))
        found, todo = [], [self._process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += children.get(pid, [])
        return found

    def pss_bytes(self) -> int:
        """Proportional set size of all its processes: memory that is shared counts once."""
        total = 0
        for pid in self.pids():
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        return total

    def cpu_s(self) -> float:
        """CPU seconds that its living processes have used."""
        return sum(cpu_seconds(pid) for pid in self.pids())

    def pid_of(self, process: str, system_port: int) -> int:
        """The process of that name, by its own status page."""
        with urllib.request.urlopen(f"http://127.0.0.1:{system_port}/status", timeout=5.0) as page:
            return next(int(each["pid"]) for each in json.load(page)["processes"] if each["name"] == process)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to what is left after 20 s."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
