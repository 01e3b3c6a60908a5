"""One S3-compatible server for all tests of this folder, each with a prefix of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.stores import S3Server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A real one."""
    server = S3Server()
    server.up()
    yield server
    server.down()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> S3Server:
    """The same with the environment that its clients look into."""
    for name, value in s3_server.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TANDEM_MODELS_DIR", str(tmp_path / "models"))
    return s3_server
