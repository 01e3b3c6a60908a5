"""The long matrices use the engines' nursery and the process tests' host too."""

from tests.process.serving import host
from tests.real.conftest import nursery

__all__ = ["host", "nursery"]
