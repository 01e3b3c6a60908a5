"""The whole way of a model, with kills: a hub, this machine, a bucket, another machine. Real processes throughout."""

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.models.folders import holds, model_files, started
from tests.models.hubs import Hub
from tests.models.test_push_pull_s3 import killed_when, objects, on_disk
from tests.stores import Gate, S3Server

PART = 16 << 20
CONNECTIONS = 8


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub({})
    yield hub
    hub.close()


@pytest.mark.process
@pytest.mark.timeout(120)
def test_a_model_of_30_mb_survives_kills_on_its_way(hub: Hub, s3: S3Server, tmp_path: Path) -> None:
    the_way_of_a_model(hub, s3, tmp_path, megabytes=30, shards=2, kills=1)


@pytest.mark.acceptance
@pytest.mark.process
@pytest.mark.timeout(300)
def test_a_model_of_200_mb_survives_kills_on_its_way(hub: Hub, s3: S3Server, tmp_path: Path) -> None:
    the_way_of_a_model(hub, s3, tmp_path, megabytes=200, shards=4, kills=4)


def the_way_of_a_model(hub: Hub, s3: S3Server, tmp_path: Path, *, megabytes: int, shards: int, kills: int) -> None:
    files = model_files(megabytes, shards=shards)
    total = sum(map(len, files.values()))
    hub.files = files
    os.environ["HF_ENDPOINT"] = hub.url
    try:
        pulled = tmp_path / "pulled"
        for n in range(kills):
            hub.limit = hub.sent_bytes + total // (kills + 2)
            hub.held.clear()
            process = started("pull", "hf://org/name", pulled)
            assert hub.held.wait(60), process.poll()
            kill(process)
            assert not (pulled / ".tandem-model.json").exists(), n
        hub.limit = None
        kept, asked = on_disk(pulled), hub.asked_bytes
        finish("pull", "hf://org/name", pulled)
        assert hub.asked_bytes - asked == total - kept, "nothing that was written is asked for again"
        print(f"pull: {hub.sent_bytes - total} bytes of {total} were sent twice after {kills} kills")
        assert hub.sent_bytes - total <= kills * CONNECTIONS * PART, "a kill costs each connection at most one part"
    finally:
        del os.environ["HF_ENDPOINT"]
    assert holds(pulled, files)
    finish("verify", pulled)

    target = f"s3://models/{uuid.uuid4().hex}"
    for _ in range(kills):
        killed_when(Gate(s3.port, up=total // (kills + 2)), "push", pulled, target, "--connections", "2")
        assert ".tandem-model.json" not in objects(s3, target), "half of it looks like a model"
    finish("push", pulled, target)
    again = tmp_path / "again"
    finish("pull", target, again)
    assert holds(again, files)
    finish("verify", again)


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def finish(*words: object) -> None:
    process = started(*words)
    _, told = process.communicate()
    assert process.returncode == 0, told.decode()
