"""A timed model of an engine. For tests, for planning, and for clusters larger than the hardware at hand.

engine.py the port · args.py sizes and speeds · model.py cost and tokens · cache.py blocks, hits, eviction, events
scheduler.py continuous batching · pins.py blocks kept for a peer · transfer.py reading a peer's blocks
"""

from tandem.engines.simulated.engine import SimulatedEngine

__all__ = ["SimulatedEngine"]
