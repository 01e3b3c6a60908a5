"""Chooses a decode worker by where the prompt's KV is."""

from tandem.graph.services import Router

__all__ = ["Router"]
