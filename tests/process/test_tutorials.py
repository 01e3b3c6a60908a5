"""The tutorials' code, taken from their pages and run as they say."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.process.serving import EXAMPLES, ROOT, Host, eventually, fetch, free_port

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

_METADATA = "import setuptools.build_meta as build; build.prepare_metadata_for_build_wheel('.')"
"""What `pip install` does first: a pyproject that is not right fails here, and entry points are found by the result."""
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def unpack(host: Host, name: str) -> list[str]:
    """Write the page's files, let setuptools make the package's metadata, return the arguments of the command."""
    command: list[str] = []
    folder = host.folder / "package"
    folder.mkdir()
    for language, text in FENCE.findall((ROOT / "docs" / "tutorial" / name).read_text()):
        if language in ("python", "yaml", "toml"):
            (folder / text.splitlines()[0].removeprefix("# ")).write_text(text)
        elif language == "sh":
            command = shlex.split(text)[2:]
    if (folder / "pyproject.toml").exists():
        subprocess.run([sys.executable, "-c", _METADATA], cwd=folder, check=True, capture_output=True)
    host.env["PYTHONPATH"] += f":{folder}"
    return command


def test_own_service(host: Host) -> None:
    serve = host.serve(*unpack(host, "own-service.md"), cwd=host.folder / "package")
    serve.said("Welcome, Ada! (greeter ")
    serve.said("Welcome, Grace! (greeter ")
    serve.stop()
    together = host.serve("crowd", "--Greeter.ServiceArgs.workers=1", "--dry-run", cwd=host.folder / "package")
    together.said("Crowd: Greeter + Crowd")


@pytest.mark.parametrize(
    ("page", "instead", "stage"),
    [("own-router.md", ["--VllmWorker.engine=simulated"], "emptiest-cache"), ("own-engine.md", [], "tokenized")],
)
def test_own_parts(host: Host, page: str, instead: list[str], stage: str) -> None:
    port = free_port()
    command = [*unpack(host, page), *instead, f"--Frontend.port={port}"]
    serve = host.serve(*command, cwd=Path(EXAMPLES)).wait_ready(20)
    eventually(lambda: "curl http" in serve.log)
    body = {"model": "tiny-qwen3", "messages": [{"role": "user", "content": "Say it again"}], "max_tokens": 200}
    code, answer = fetch(f"http://127.0.0.1:{port}/v1/chat/completions", body)
    assert code == 200, answer
    said = json.loads(answer)
    assert page != "own-engine.md" or "Say it again" in said["choices"][0]["message"]["content"]
    assert stage in serve.get(f"/trace/{said['id']}")[1]
