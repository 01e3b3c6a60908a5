"""Runtime tests share these fixtures."""

from tests.runtime.joined import hub, join, path

__all__ = ["hub", "join", "path"]
