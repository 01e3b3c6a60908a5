"""One S3-compatible server for all tests of this folder, each with a prefix of its own; a hub for each test."""

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
from tests.models.folders import HUB_FILES
from tests.models.hubs import Hub
from tests.stores import S3Server

from tandem.models import crew, workspace


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


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """Both hubs at one loopback address, with tokens set."""
    hub = Hub(dict(HUB_FILES))
    # The client reads HF_ENDPOINT when it is imported, which another test may have done.
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
    template = huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE
    tail = template[template.index("/{repo_id}") :]
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + tail)
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
    monkeypatch.setenv("MODELSCOPE_HOME", str(tmp_path / "modelscope"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret_token")
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms-secret-token")
    monkeypatch.setattr(workspace, "PART_BYTES", 1 << 18)  # so that a shard has several
    monkeypatch.setattr(crew, "_FIRST_PAUSE_S", 0.01)
    yield hub
    hub.close()
