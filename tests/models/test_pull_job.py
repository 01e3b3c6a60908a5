"""The Job that `tandem deploy` renders for a new volume, run as its container would be, and the workers' wait."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from tests.deploy.builders import described, objects, pod_of
from tests.models.folders import holds, model_files, tandem_models, written
from tests.stores import S3Server

from tandem.deploy.objects import Object


def run(container: Object, **secret: str) -> subprocess.CompletedProcess[bytes]:
    """The container's command in its environment alone, without the image's init."""
    env = {item["name"]: item["value"] for item in container.get("env", [])}
    kept = {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
    command = container["command"]
    if command[:3] == ["tini", "--", "tandem"]:
        command = [sys.executable, "-m", "tandem.cli.main", *command[3:]]
    return subprocess.run(command, env={**kept, **env, **secret}, timeout=30, capture_output=True)


@pytest.mark.process
def test_the_rendered_job_fills_the_volume_and_the_workers_wait_ends(s3: S3Server, tmp_path: Path) -> None:
    files, bucket = model_files(1.0), f"s3://models/{uuid.uuid4().hex}"
    assert tandem_models("push", written(files, tmp_path / "m"), bucket) == 0
    volume = tmp_path / "volume"
    storage = {"kind": "storage-class", "size": "1Gi", "source": bucket, "source-secret": "store"}
    found = objects(described(model__path=str(volume), model__storage=storage))
    [job] = [item for (kind, _), item in found.items() if kind == "Job"]
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "store"}}]
    done = run(container, **s3.environ)
    assert done.returncode == 0, done.stderr
    assert holds(volume, files)
    [wait] = pod_of(found, "decoder")["initContainers"]
    assert run(wait).returncode == 0
    again = run(container, **s3.environ)
    assert again.returncode == 0, "a second pull of a whole model looks at it and ends"
    wrong = run(container, **{**s3.environ, "AWS_SECRET_ACCESS_KEY": "wrong"})
    assert wrong.returncode == 1
    assert b"no right to its list (SignatureDoesNotMatch)" in wrong.stderr, (
        "`tandem deploy status` shows its last words"
    )
