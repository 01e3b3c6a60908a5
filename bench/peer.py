"""The peer of `bench.frontend`: NVIDIA Dynamo 1.6.1 in a virtual environment of its own, on a CPU."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.serving import free_port

_VERSION = "1.6.1"
_NEEDS = (
    "aiohttp certifi kubernetes<33 msgspec prometheus-client pyzmq redis<9 tqdm transformers>=4.56 zstandard "
    "uvloop numpy"
)
"""Named, because one of its own dependencies has no wheel for a CPU."""


def peer_venv(given: str | None, run: Path) -> Path:
    """The environment `given`, or one that is made in `run`."""
    if given:
        return Path(given)
    venv = run / f"dynamo-{_VERSION}"
    if not (venv / "complete").exists():
        print(f"installing the peer into {venv}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        pip = [str(venv / "bin" / "pip"), "install", "--quiet"]
        subprocess.run([*pip, "--no-deps", f"ai-dynamo=={_VERSION}", f"ai-dynamo-runtime=={_VERSION}"], check=True)
        subprocess.run([*pip, *_NEEDS.split()], check=True)
        (venv / "complete").touch()
    return venv


@contextmanager
def peer_running(
    venv: Path,
    folder: Path,
    model: Path,
    router: str,
    *,
    engine_flags: Sequence[str],
    front_flags: Sequence[str] = (),
) -> Iterator[tuple[int, int]]:
    """Its front end and its simulated engines, ready. Yields the port and the front end's process id."""
    port = free_port()
    planes = ["--discovery-backend", "file", "--request-plane", "tcp", "--event-plane", "zmq"]
    (folder / "peer").mkdir()
    env = {
        **os.environ, "DYN_DISCOVERY_BACKEND": "file", "DYN_FILE_KV": str(folder / "peer"), "DYN_REQUEST_PLANE": "tcp",
        "DYN_EVENT_PLANE": "zmq", "DYN_LOG": "error", "HF_HUB_OFFLINE": "1", "PYTHONPATH": "",
    }  # fmt: skip
    python = str(venv / "bin" / "python")
    front = [python, "-m", "dynamo.frontend", "--http-port", str(port), *planes]
    front += ["--router-mode", router, *front_flags]
    engines = [python, "-m", "dynamo.mocker", "--model-path", str(model), "--model-name", "q", *planes, *engine_flags]
    log = (folder / "peer.log").open("wb")
    started = [subprocess.Popen(each, stdout=subprocess.DEVNULL, stderr=log, env=env) for each in (front, engines)]
    try:
        _wait_served(port, folder / "peer.log")
        yield port, started[0].pid
    finally:
        for process in started:
            process.terminate()
        for process in started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_served(port: int, log: Path, timeout_s: float = 120.0) -> None:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=1) as answer:
                if b'"q"' in answer.read():
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.2)
    raise RuntimeError(f"the peer is not ready after {timeout_s:g} s:\n{log.read_text(errors='replace')[-2000:]}")
