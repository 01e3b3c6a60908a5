"""The image's tree, made by the script that the Dockerfile runs; and what the guide's commands find in it."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

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


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, ROOT / "deploy" / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
