"""The decode worker: an engine that owns requests."""

from tandem.graph.services import VllmWorker

__all__ = ["VllmWorker"]
