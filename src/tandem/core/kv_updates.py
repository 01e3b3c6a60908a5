"""What workers tell routers about their blocks: names, never tokens.

A worker publishes a `KvUpdate` on `kv_subject(namespace, component)` for each change, numbered from 0 for each
rank; every second it repeats its last number without changes, so that a lost update is noticed even when
nothing follows it. A router that missed one calls the worker's `kv_state` endpoint.
"""

from typing import Literal

import msgspec


class KvChange(msgspec.Struct, frozen=True, array_like=True):
    """Blocks of one tier, stored or removed; or everything cleared."""

    kind: Literal["stored", "removed", "cleared"]
    tier: Literal["gpu", "host", "disk"] = "gpu"
    names: bytes = b""
    """See `tandem.kv.blocks.to_bytes`."""


class KvUpdate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One numbered update; without changes, a sign of life that repeats the last number (-1 before the first)."""

    instance_id: str
    seq: int
    changes: list[KvChange] = []
    dp_rank: int = 0
    at: float = 0.0
    """Unix time in seconds, by the worker's clock."""


class KvStateAsk(msgspec.Struct, frozen=True):
    """What do you hold?"""

    dp_rank: int = 0


class KvState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A part of the answer. All parts together are what the worker held after update `seq`."""

    seq: int
    changes: list[KvChange] = []


def kv_subject(namespace: str, component: str) -> str:
    """Where a component's instances tell of their blocks."""
    return f"{namespace}.kv.{component}"


def router_subject(namespace: str, component: str) -> str:
    """Where routers of a component tell each other what they have sent."""
    return f"{namespace}.router.{component}"


class RouterLoad(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one router has sent and not seen come out."""

    router_id: str
    waits: list[tuple[str, int | None, float]] = []
    """(instance id, rank, prefill queue in seconds); those that are not named have none."""
