"""The long matrices use the engines' nursery too."""

from tests.real.conftest import nursery

__all__ = ["nursery"]
