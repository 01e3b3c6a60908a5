"""How far a rollout may go now: partitions, surge, and roles that keep step.

A StatefulSet replaces pods from the highest ordinal down, one after the other, and waits for each to be ready; its
`partition` is the brake. A surge is a StatefulSet that is larger while it rolls. Roles in one coordination rule get
partitions that keep their shares of updated pods within `maxSkew` of each other.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tandem.core.paths import at
from tandem.operator.amounts import resolve
from tandem.operator.types import Coordination, Raw, Role, RollingUpdate


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What a workload is told about its rollout."""

    replicas: int
    """Pods (or groups of pods) to run now."""
    surge: int = 0
    """Pods of a StatefulSet beyond those, while it rolls; other kinds surge by themselves."""
    partition: int = 0
    max_unavailable: int | str | None = None
    max_surge: int | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a role's rollout is."""

    wished: int
    updated: int
    rolling: bool = False
    settled: bool = True
    """The workload's controller has seen the workload's newest spec; before that its word on the rollout is old."""

    @property
    def share(self) -> float:
        """Of the role's pods, those that run the new template: 0 to 1."""
        if self.settled and not self.rolling:
            return 1.0
        updated = self.updated if self.settled else 0
        return min(updated / self.wished, 1.0) if self.wished else 1.0


def rolling_update(role: Role) -> RollingUpdate | None:
    """The role's settings for a rolling update, if it has any."""
    return role.rollout_strategy.rolling_update if role.rollout_strategy else None


def progress(role: Role, found: Raw | None, *, changes_now: bool) -> Progress:
    """Read a workload's status. `changes_now`: the template is about to be replaced."""
    if found is None:
        return Progress(wished=role.replicas, updated=role.replicas)
    if changes_now:
        return Progress(wished=role.replicas, updated=0, rolling=True)
    updated = at(found, "status", "updatedReplicas", default=0)
    settled = True
    match found.get("kind"):
        case "LeaderWorkerSet":
            conditions = at(found, "status", "conditions", default=[])
            rolling = any(
                item.get("type") == "UpdateInProgress" and item.get("status") == "True" for item in conditions
            )
        case "Deployment":
            rolling = updated < at(found, "status", "replicas", default=0)
        case _:
            rolling = at(found, "status", "currentRevision") != at(found, "status", "updateRevision")
            settled = _settled(found)
    return Progress(wished=role.replicas, updated=updated, rolling=rolling, settled=settled)


def _settled(found: Raw) -> bool:
    return bool(at(found, "status", "observedGeneration", default=0) >= at(found, "metadata", "generation", default=0))


def held_back(role: Role, replicas: int) -> int:
    """Ordinals that the user wants to keep the old template: a partition, or a pause."""
    wish = rolling_update(role)
    if wish is None:
        return 0
    return replicas if wish.paused else resolve(wish.partition or 0, replicas, up=True)


def pace(
    role: Role,
    found: Raw | None,
    now: Progress,
    *,
    replicas: int,
    skew_partition: int = 0,
    max_unavailable: int | None = None,
) -> Pace:
    """Replicas and partition of one role.

    Args:
        replicas: the wish, after coordination of scaling.
        skew_partition: ordinals that coordination keeps back.
        max_unavailable: what coordination allows, in place of the role's own.
    """
    wish = rolling_update(role)
    if wish is None:
        return Pace(replicas=replicas, partition=skew_partition, max_unavailable=max_unavailable)
    surge = min(resolve(wish.max_surge, replicas, up=True), replicas)
    if found is not None and surge:
        surging = at(found, "spec", "replicas", default=replicas) > replicas
        # Until the controller has looked at our last write, the size stays as it is.
        surge = surge if now.rolling or (surging and not _settled(found)) else 0
    else:
        surge = 0
    return Pace(
        replicas=replicas,
        surge=surge,
        partition=max(held_back(role, replicas), skew_partition),
        max_unavailable=wish.max_unavailable if max_unavailable is None else max_unavailable,
        max_surge=wish.max_surge,
    )


def skew_partitions(rules: Sequence[Coordination], progress_of: Mapping[str, Progress]) -> dict[str, int]:
    """Role → ordinals that must still keep the old template. Several rules: the largest counts."""
    found: dict[str, int] = {}
    for rule in rules:
        strategy = rule.strategy.rolling_update if rule.strategy else None
        members = [name for name in rule.roles if name in progress_of]
        if strategy is None or len(members) < 2:
            continue
        slowest = min(progress_of[name].share for name in members)
        for name in members:
            now = progress_of[name]
            held = resolve(strategy.partition, now.wished, up=True) if strategy.partition else 0
            if strategy.max_skew and not (now.settled and not now.rolling):
                allowed = math.floor((slowest + _fraction(strategy.max_skew)) * now.wished + 1e-9)
                step = math.floor(slowest * now.wished + 1e-9) + 1  # one pod may always move, or nothing would
                held = max(held, now.wished - max(allowed, step))
            found[name] = max(found.get(name, 0), held)
    return found


def unavailable_limits(rules: Sequence[Coordination], wished: Mapping[str, int]) -> dict[str, int]:
    """Role → pods that may be away while it rolls, at least one. Several rules: the smallest counts."""
    found: dict[str, int] = {}
    for rule in rules:
        strategy = rule.strategy.rolling_update if rule.strategy else None
        members = [name for name in rule.roles if name in wished]
        if strategy is None or strategy.max_unavailable is None or len(members) < 2:
            continue
        for name in members:
            limit = max(resolve(strategy.max_unavailable, wished[name], up=False), 1)
            found[name] = min(found.get(name, limit), limit)
    return found


def scaling_targets(
    rules: Sequence[Coordination],
    wished: Mapping[str, int],
    current: Mapping[str, int],
    scheduled: Mapping[str, int],
    ready: Mapping[str, int],
) -> dict[str, int]:
    """Role → replicas to run now, for roles that grow together. A role that shrinks does so at once."""
    found = dict(wished)
    for rule in rules:
        strategy = rule.strategy.scaling if rule.strategy else None
        members = [name for name in rule.roles if wished.get(name)]
        if strategy is None or len(members) < 2:
            continue
        done = ready if strategy.progression == "OrderReady" else scheduled
        share = {name: min(done.get(name, 0) / wished[name], 1.0) for name in members}
        slowest = min(share.values())
        for name in members:
            if current.get(name, 0) >= wished[name]:
                continue
            allowed = math.ceil((slowest + _fraction(strategy.max_skew or "100%")) * wished[name] - 1e-9)
            least = min(current.get(name, 0), done.get(name, 0)) + 1
            target = max(allowed, least, current.get(name, 0))
            found[name] = min(found[name], target, wished[name])
    return found


def _fraction(percent: str) -> float:
    return int(percent.rstrip("%")) / 100
