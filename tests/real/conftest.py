"""Real engines: one nursery for the whole run, one cluster per module."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.real.cluster import Nursery


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """In a short path: Unix sockets have 107 characters."""
    with tempfile.TemporaryDirectory(prefix="tandem-test-") as folder, Nursery(Path(folder)) as nursery:
        yield nursery
