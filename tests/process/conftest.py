"""Process tests share one fixture."""

from tests.process.serving import host

__all__ = ["host"]
