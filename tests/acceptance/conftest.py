"""The long matrices use the engines' nursery and the process tests' host too; clients talk to one demo per file."""

from collections.abc import Iterator

import pytest
from anthropic import Anthropic
from openai import OpenAI
from tests.process.serving import Host, free_port, host
from tests.real.conftest import nursery

__all__ = ["host", "nursery"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Address of `tandem demo`: real engines, the demo model, every prompt prefilled remotely."""
    host, port = Host(), free_port()
    try:
        settings = [f"--Frontend.batch-folder={host.folder}/batches"]
        host.run("demo", "--port", str(port), *settings).wait_ready(180)
        yield f"http://127.0.0.1:{port}"
    finally:
        for serve in host.serves:
            serve.stop()
        host.close()


@pytest.fixture(scope="module")
def openai_client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def anthropic_client(url: str) -> Iterator[Anthropic]:
    with Anthropic(base_url=url, api_key="none", max_retries=0, timeout=60) as client:
        yield client
