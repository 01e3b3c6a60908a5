"""The guide end to end, in a box of its own: see tests/kube/box. `-s` shows what happens."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MISSING = (
    "no node for real pods: run as root with KUBEBUILDER_ASSETS and PROCESS_KUBELET (a kubelet without containers)"
)

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not os.environ.get("KUBEBUILDER_ASSETS") or not os.environ.get("PROCESS_KUBELET"),
    reason=MISSING,
)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="box-", dir="/tmp", ignore_cleanup_errors=True) as made:
        yield Path(made)


def tell(folder: Path, module: str, *words: str, limit_s: float) -> str:
    """Run a story in a box; its output, when it went well."""
    (folder / "state").mkdir()
    box = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    enter = ["sh", str(ROOT / "tests/kube/box/enter.sh"), str(folder), str(ROOT)]
    name, *more = words
    command = [sys.executable, "-m", f"tests.kube.box.{module}", name, str(folder / "state"), *more]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [*box, *enter, *command], capture_output=True, text=True, timeout=limit_s, env=env, check=False
    )
    print(done.stdout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-5000:]}\n{logs(folder)}"
    return done.stdout


def logs(folder: Path) -> str:
    """The ends of all logs in the box."""
    found = [*(folder / "state").glob("*.log"), *(folder / "state").glob("node/pods/*/logs/*.log")]
    return "\n".join(f"== {path.parts[-3:]}\n{path.read_text(errors='replace')[-1500:]}" for path in found)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("story", ["from_its_files", "rolled_under_load"])
def test_the_guide_with_simulated_engines(folder: Path, story: str) -> None:
    tell(folder, "guide_story", story, "simulated", limit_s=280)


@pytest.mark.acceptance
@pytest.mark.timeout(600)
@pytest.mark.parametrize("story", ["from_its_files", "rolled_under_load"])
def test_the_guide_with_real_engines(folder: Path, story: str) -> None:
    tell(folder, "guide_story", story, limit_s=580)


@pytest.mark.timeout(150)
def test_the_ranks_of_a_multi_node_engine_find_each_other(folder: Path) -> None:
    assert '"ranks": 6' in tell(folder, "ranks_story", "ranks", limit_s=140)
