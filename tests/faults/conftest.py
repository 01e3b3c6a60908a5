"""Fault tests run on the process tests' host."""

from tests.process.serving import host

__all__ = ["host"]
