"""The image's tree, made by the script that the Dockerfile runs; and what the guide's commands find in it."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import yaml
from tests.process.serving import MODEL, eventually, fetch, free_port

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "deploy" / "guide"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """As a pod has it: the image's layout with the guide's ConfigMap mounted over it."""
    subprocess.run(["sh", ROOT / "deploy" / "layout.sh", tmp_path], check=True)
    data = yaml.safe_load((GUIDE / "04-configs.yaml").read_text())["data"]
    (tmp_path / "examples/llm/configs/qwen3.yaml").write_text(data["qwen3.yaml"])
    (tmp_path / "examples/llm/graphs/pd_disagg.py").write_text(data["pd_disagg.py"])
    return tmp_path


def commands() -> dict[str, str]:
    group = yaml.safe_load((GUIDE / "05-dynamo.yaml").read_text())
    return {role["name"]: role["template"]["spec"]["containers"][0]["command"][2] for role in group["spec"]["roles"]}


def test_the_layout_is_the_guides(workspace: Path) -> None:
    found = {path.name for path in (workspace / "examples" / "llm").iterdir()}
    assert {"components", "graphs", "configs"} <= found
    assert not list(workspace.rglob("__pycache__"))


@pytest.mark.parametrize("role", ["processor", "prefill", "decoder"])
@pytest.mark.timeout(60)
def test_the_guides_command_is_understood_in_that_tree(workspace: Path, role: str) -> None:
    line = commands()[role].replace("/workspace", shlex.quote(str(workspace)), 1) + " --dry-run"
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    section = {"processor": "Frontend", "prefill": "PrefillWorker", "decoder": "VllmWorker"}[role]
    assert f"{section}:" in done.stdout


def test_the_image_runs_as_nobody_special_and_passes_signals_on() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    assert "USER 10001:10001" in text
    assert 'ENTRYPOINT ["tini", "--"]' in text
    assert "layout.sh /workspace" in text


@contextmanager
def first_process(line: str, log: Path, path: str = "") -> Iterator[psutil.Process]:
    """A pod's command, run by the image's shell as the first process of a container, once it serves."""
    found = re.search(r"ln -sf (\w+) /bin/sh", (ROOT / "deploy" / "Dockerfile").read_text())
    shell = found[1] if found else "sh"
    port = str(free_port())
    with tempfile.TemporaryDirectory(prefix="td-") as runtime, log.open("wb") as out:
        env = {**os.environ, "TANDEM_SYSTEM_PORT": port, "XDG_RUNTIME_DIR": runtime, "TANDEM_MODEL": str(MODEL)}
        env |= {"PATH": f"{path}:{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src")}
        box = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        outside = subprocess.Popen([*box, shell, "-c", line], env=env, stdout=out, stderr=out)
        try:
            eventually(lambda: fetch(f"http://127.0.0.1:{port}/live")[0] == 200, what=log.read_text())
            [inside] = psutil.Process(outside.pid).children()
            yield inside
        finally:
            outside.kill()
            outside.wait()


needs_root = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root, for a namespace")


@needs_root
@pytest.mark.timeout(60)
def test_the_signal_that_ends_a_pod_reaches_the_server_through_the_guides_shell(
    workspace: Path, tmp_path: Path
) -> None:
    """The kubelet tells a container's first process alone; a shell there would keep the signal to itself."""
    line = commands()["decoder"].replace("/workspace", shlex.quote(str(workspace)), 1)
    log = tmp_path / "log"
    with first_process(f"{line} --VllmWorker.engine=simulated --VllmWorker.model={MODEL}", log) as server:
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        server.wait(20)
        assert "SIGTERM: stopping" in log.read_text()
        assert time.monotonic() - began < 15


@needs_root
@pytest.mark.timeout(60)
def test_as_the_first_process_it_starts_again_under_tini(workspace: Path, tmp_path: Path) -> None:
    stand_in = tmp_path / "bin" / "tini"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/bash\n[ "$1" = -- ] || exit 9\nshift\necho "under tini"\n"$@" &\nwait\n')
    stand_in.chmod(0o755)
    line = commands()["decoder"].replace("/workspace", shlex.quote(str(workspace)), 1)
    log = tmp_path / "log"
    line = f"{line} --VllmWorker.engine=simulated --VllmWorker.model={MODEL}"
    with first_process(line, log, str(stand_in.parent)) as first:
        assert Path(first.cmdline()[1]).name == "tini"
        [server] = first.children()
        assert "serve" in server.cmdline()
        assert log.read_text().count("under tini") == 1


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, ROOT / "deploy" / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
