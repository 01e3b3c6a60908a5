"""Engine folders are private, removed with their engine, and swept up after a killed one."""

import os
import tempfile
from pathlib import Path

import pytest

from tandem.engines.vllm.home import EngineHome


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_a_home_is_private_and_goes_with_its_engine() -> None:
    home = EngineHome()
    assert os.stat(home.path).st_mode & 0o777 == 0o700
    home.remove()
    home.remove()
    assert not os.path.exists(home.path)


def test_a_home_is_swept_when_its_last_process_is_gone() -> None:
    left = EngineHome()
    EngineHome().remove()
    assert os.path.exists(left.path), "its engine lives"
    os.close(left._lock)  # as the kernel does when it is killed
    EngineHome().remove()
    assert not os.path.exists(left.path)


def test_a_forked_engine_keeps_the_home_of_a_dead_parent() -> None:
    home = EngineHome()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    os.close(reader)
    os.close(home._lock)
    EngineHome().remove()
    assert os.path.exists(home.path)
    os.close(writer)
    os.waitpid(child, 0)
    EngineHome().remove()
    assert not os.path.exists(home.path)
