"""Text to tokens and back."""

from tandem.graph.services import Processor

__all__ = ["Processor"]
