"""HTTP in, SSE out."""

from tandem.graph.services import Frontend

__all__ = ["Frontend"]
