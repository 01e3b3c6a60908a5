"""The prefill worker: an engine that takes jobs off the prefill queue."""

from tandem.graph.services import PrefillWorker

__all__ = ["PrefillWorker"]
