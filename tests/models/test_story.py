"""The whole way of a model, with kills: a hub, this machine, a bucket, another machine. Real processes throughout."""

import os
import random
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.models.folders import holds, model_files, started
from tests.models.hubs import Hub
from tests.models.test_push_pull_s3 import objects, on_disk
from tests.stores import Gate, S3Server

from tandem.models.workspace import PART_BYTES

NARROW_BYTES_S = 60e6
"""A line that is slower than both ends, so that a kill meets parts that are half sent."""


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
    seed = random.randrange(10**6)
    moments = sorted(random.Random(seed).uniform(0.05, 0.95) * total for _ in range(kills))
    hub.files = files
    os.environ["HF_ENDPOINT"] = hub.url
    try:
        pulled = tmp_path / "pulled"
        for moment in moments:
            killed(started("pull", "hf://org/name", pulled), lambda: hub.sent_bytes, moment)
            assert not (pulled / ".tandem-model.json").exists(), seed
        time.sleep(0.2)  # what the hub was sending is counted
        kept, asked = on_disk(pulled), hub.asked_bytes
        finish("pull", "hf://org/name", pulled)
        assert hub.asked_bytes - asked == total - kept, "nothing that was written is asked for again"
    finally:
        del os.environ["HF_ENDPOINT"]
    twice(hub.sent_bytes - total, "pull", kills, seed)
    assert holds(pulled, files)
    finish("verify", pulled)

    target = f"s3://models/{uuid.uuid4().hex}"
    passed = 0
    for moment in moments:
        gate = Gate(s3.port, up_bytes_s=NARROW_BYTES_S)
        process, before = started("push", pulled, target, AWS_ENDPOINT_URL=gate.url), passed
        killed(process, lambda gate=gate, before=before: before + gate.passed["up"], moment)  # type: ignore[misc]
        time.sleep(0.3)  # what the killed process had given away arrives
        passed += gate.passed["up"]
        gate.close()
        assert ".tandem-model.json" not in objects(s3, target), "half of it looks like a model"
    gate = Gate(s3.port)
    finish("push", pulled, target, AWS_ENDPOINT_URL=gate.url)
    gate.close()
    twice(passed + gate.passed["up"] - total - total // 100, "push", kills, seed)  # less requests and marks
    again = tmp_path / "again"
    finish("pull", target, again)
    assert holds(again, files)
    finish("verify", again)


def twice(found: int, way: str, kills: int, seed: int) -> None:
    print(f"{way}: {found / kills / 1e6:.1f} MB were sent twice for each of {kills} kills (seed {seed})")
    assert found <= kills * PART_BYTES, "a kill costs at most one part, of all connections together"


def killed(process: subprocess.Popen[bytes], moved: Callable[[], int], moment: float) -> None:
    """End a transfer once so many bytes have moved, in the middle of its work."""
    while moved() < moment and process.poll() is None:
        time.sleep(0.001)
    assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()


def finish(*words: object, **environ: str) -> None:
    process = started(*words, **environ)
    _, told = process.communicate()
    assert process.returncode == 0, told.decode()
