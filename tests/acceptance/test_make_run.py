"""`make run` in a fresh clone, as somebody who has just heard of Tandem runs it. Installs from the package index."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from tests.process.serving import ROOT, eventually, fetch, free_port, still_there

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

INSTALL_S = 600
READY_S = 180


class Clone:
    """A clone of the repository in a folder of its own; it is somebody's home too."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "checkout"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(self.path)], check=True)
        kept = (
            "PATH",
            "HOME",
            "LANG",
            "PIP_INDEX_URL",
            "PIP_CONFIG_FILE",
            "SSL_CERT_FILE",
            "http_proxy",
            "https_proxy",
        )
        self.env = {key: os.environ[key] for key in kept if key in os.environ}
        self.env |= {"XDG_RUNTIME_DIR": str(folder), "TMPDIR": str(folder)}

    def make(self, *arguments: str) -> "Make":
        """Start make."""
        return Make(["make", *arguments], self)

    def refusal(self, *arguments: str, before: str = "") -> str:
        """What a `make run` that ends by itself says, without make's own remark. `before` runs in a mount namespace."""
        command = f"{before}\nexec make {shlex.join(arguments)}"
        done = subprocess.run(
            ["unshare", "--mount", "bash", "-ec", command] if before else ["make", *arguments],
            cwd=self.path, env=self.env, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode, "it should have failed"
        return "\n".join(line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("make: ***"))


class Make:
    """A running make, in a process group of its own, as a terminal has it."""

    def __init__(self, command: list[str], clone: Clone) -> None:
        self._log = clone.path.parent / f"{time.monotonic_ns()}.log"
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                command, cwd=clone.path, env=clone.env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def curl_line(self, timeout_s: float) -> str:
        """The line that it offers when it is ready."""
        ready = eventually(
            lambda: self._process.poll() is not None or "\ncurl http" in self.log, timeout_s, f"ready:\n{self.log}"
        )
        assert ready
        assert self._process.poll() is None, self.log
        return next(line for line in self.log.splitlines() if line.startswith("curl http"))

    def family(self) -> list[psutil.Process]:
        """Everything that it has started."""
        return psutil.Process(self._process.pid).children(recursive=True)

    def ctrl_c(self) -> None:
        """What the terminal does: SIGINT to the whole group."""
        os.killpg(self._process.pid, signal.SIGINT)

    def wait(self, timeout_s: float = 60) -> int:
        return self._process.wait(timeout_s)

    def end(self) -> None:
        """Whatever a test has left of it."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)


@pytest.fixture(scope="module")
def clone() -> Iterator[Clone]:
    folder = Path(tempfile.mkdtemp(prefix="td-"))
    try:
        yield Clone(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def shared_memory() -> set[str]:
    """Files in /dev/shm that no process uses."""
    used = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):
            used |= {line.split()[-1] for line in maps.read_text().splitlines() if "/dev/shm/" in line}
    return {str(path) for path in Path("/dev/shm").rglob("*") if path.is_file()} - used


def run_line(line: str) -> dict[str, object]:
    """A shell line that prints JSON."""
    answer: dict[str, object] = json.loads(subprocess.run(line, shell=True, check=True, capture_output=True).stdout)
    return answer


def test_the_first_run_installs_serves_drains_and_leaves_nothing(clone: Clone) -> None:
    port, before = free_port(), shared_memory()
    running = clone.make("run", f"PORT={port}")
    try:
        began = time.monotonic()
        eventually(lambda: "Installed in" in running.log, INSTALL_S, "installed")
        installed = time.monotonic()
        line = running.curl_line(READY_S)
        print(f"installed in {installed - began:.0f} s, ready {time.monotonic() - installed:.1f} s later")
        for step in ("Installing up to", "importing engine vllm", "PrefillWorker.0: loading", "VllmWorker.0: ready"):
            assert step in running.log
        assert f"http://127.0.0.1:{port}/" in line
        answer = run_line(line.replace("curl ", "curl -sf "))
        told = subprocess.run(
            [clone.path / ".venv/bin/tandem", "trace", str(answer["id"])],
            env=clone.env, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        assert "site=remote" in told
        assert "kv_bytes=" in told

        family = running.family()
        body = {"prompt": "Hello", "max_tokens": 300, "ignore_eos": True}
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(fetch, f"http://127.0.0.1:{port}/v1/completions", body, 60)
            time.sleep(0.5)
            running.ctrl_c()
            code, text = asked.result()
        assert (code, json.loads(text)["usage"]["completion_tokens"]) == (200, 300), "what runs is finished first"
        running.wait()
        assert not still_there(family)
        assert shared_memory() <= before
    finally:
        running.end()


def test_the_second_run_installs_nothing_and_takes_port_and_model(clone: Clone) -> None:
    port = free_port()
    other = clone.path.parent / "my model"
    shutil.copytree(clone.path / "models" / "tiny-qwen3", other)
    running = clone.make("run", f"PORT={port}", f"MODEL={other}")
    try:
        began = time.monotonic()
        running.curl_line(READY_S)
        print(f"ready in {time.monotonic() - began:.1f} s")
        assert "nstall" not in running.log
        models = json.loads(fetch(f"http://127.0.0.1:{port}/v1/models")[1])
        assert [model["id"] for model in models["data"]] == ["my model"]
        said = clone.refusal("run", f"PORT={port}")
        assert said == (
            f"tandem demo: port {port} on 127.0.0.1 is in use by another program: "
            "stop it, or choose another with --port"
        )
        family = running.family()
        running.ctrl_c()
        running.wait()
        assert not still_there(family)
    finally:
        running.end()


def test_two_runs_that_start_together_do_not_share_a_port(clone: Clone) -> None:
    port = free_port()
    both = [clone.make("run", f"PORT={port}") for _ in range(2)]
    try:
        eventually(lambda: any("in use by another program" in each.log for each in both), 60, "one gives up")
        [loser] = [each for each in both if "in use by another program" in each.log]
        assert loser.wait(20) != 0
        [winner] = [each for each in both if each is not loser]
        winner.curl_line(READY_S)
        winner.ctrl_c()
        winner.wait()
    finally:
        for each in both:
            each.end()


def test_what_cannot_work_is_said_in_one_sentence(clone: Clone) -> None:
    port = f"PORT={free_port()}"
    nowhere = clone.refusal("run", port, "MODEL=/nowhere")
    assert nowhere == "tandem demo: no model at /nowhere: name its folder with --model"
    meminfo = clone.path.parent / "meminfo"
    meminfo.write_text("MemTotal: 2000000 kB\nMemAvailable: 1500000 kB\n")
    little = clone.refusal("run", port, before=f"mount --bind {meminfo} /proc/meminfo")
    assert little == "tandem demo: the demo needs 2.5 GB of free memory; 1.5 GB is free"
    small = "mount -t tmpfs -o size=60m tmpfs $TMPDIR/small; export TMPDIR=$TMPDIR/small"
    (clone.path.parent / "small").mkdir()
    full = clone.refusal("run", port, before=small)
    assert full.startswith("tandem demo: the demo needs 200 MB free in ")
    fresh = f"{small}; git clone --quiet --depth 1 file://{clone.path} $TMPDIR/t; cd $TMPDIR/t"
    no_room = clone.refusal("run", port, before=fresh)
    assert "MB of disk space left and the installation needs 4500 MB" in no_room
    assert len(no_room.splitlines()) == 1


def test_the_wheel_gives_the_commands_in_an_empty_environment(clone: Clone) -> None:
    done = subprocess.run(
        ["make", "test-wheel"], cwd=clone.path, env=clone.env, capture_output=True, text=True, timeout=INSTALL_S
    )
    assert done.returncode == 0, done.stderr
    assert "The wheel works by itself: tandem_pd-" in done.stderr
