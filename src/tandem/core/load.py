"""How busy an instance is, as it tells whoever listens.

A worker publishes a `LoadReport` on `load_subject(namespace, component)`, at least every second and after
each sudden change. Reports are hints: one may be lost, and a reader forgets what is old.
"""

import msgspec


class LoadReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A glance at one instance."""

    instance_id: str
    running: int
    """Sequences that the engine works on."""
    waiting: int
    """Sequences that wait, in the engine or for a prefill."""
    kv_blocks_used: int = 0
    kv_blocks_total: int = 0
    waiting_prefill_tokens: int = 0
    """Prompt tokens not computed yet, uncached as far as known."""
    at: float = 0.0
    """Unix time in seconds, by the worker's clock: for showing, not for comparing between hosts."""


def load_subject(namespace: str, component: str) -> str:
    """Where a component's instances report their load."""
    return f"{namespace}.load.{component}"
