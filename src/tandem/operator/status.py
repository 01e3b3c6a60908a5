"""What a group's status says: true for the generation that it names, with a reason for each role that is not ready."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tandem.core.paths import at
from tandem.operator import labels
from tandem.operator.faults import Fault
from tandem.operator.restarts import condition, in_progress
from tandem.operator.roles import RolePlan
from tandem.operator.rollout import progress
from tandem.operator.types import Condition, Group, GroupStatus, Raw, RoleStatus
from tandem.operator.workloads import is_ready


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleView:
    """One role after a reconciliation: its workload as last seen, and what stands in its way."""

    plan: RolePlan
    workload: Raw | None
    waiting_for: Sequence[str] = ()
    problem: str | None = None
    rolling: bool = False
    held_back: int = 0
    """Pods that the user's partition keeps on the old template: they do not count as missing."""

    @property
    def role_status(self) -> RoleStatus:
        found = self.workload
        counts = [at(found, "status", key, default=0) for key in ("replicas", "readyReplicas", "updatedReplicas")]
        return RoleStatus(self.plan.role.name, *counts)

    def why_not_ready(self) -> str | None:
        """In words, with numbers; None for a role that is ready."""
        role, name = self.plan.role, self.plan.role.name
        if self.problem:
            return f"role {name}: {self.problem}"
        if self.workload is None:
            if self.waiting_for:
                return f"role {name}: waiting for {', '.join(self.waiting_for)}"
            return f"role {name}: {self.plan.kind} not made yet"
        counts = self.role_status
        if counts.ready_replicas < role.replicas:
            return f"role {name}: {counts.ready_replicas}/{role.replicas} ready"
        if self.rolling and counts.updated_replicas < role.replicas - self.held_back:
            return f"role {name}: {counts.updated_replicas}/{role.replicas - self.held_back} updated"
        if not is_ready(self.workload, role.replicas):
            return f"role {name}: {self.plan.kind} not observed yet"
        if counts.replicas != role.replicas:
            return f"role {name}: {counts.replicas} pods, {role.replicas} wished"
        return None


def refreshed(view: RoleView, workload: Raw | None) -> RoleView:
    """The view with the workload as it is after the writes: its word on the rollout goes along with its counts."""
    if workload is None:
        return view
    rolling = view.rolling or progress(view.plan.role, workload, changes_now=False).rolling
    return replace(view, workload=workload, rolling=rolling)


def group_status(group: Group, views: Sequence[RoleView], *, restart: str | None, now: str) -> GroupStatus:
    """The status of a group that can be built.

    Args:
        restart: why the whole group starts anew, when that was decided just now.
        now: a Kubernetes time stamp for conditions that change.
    """
    reasons = [why for view in views if (why := view.why_not_ready())]
    rolling = [view.plan.role.name for view in views if view.rolling]
    stuck = [view for view in views if view.problem]
    ready = not reasons
    wish: dict[str, tuple[bool, str, str]] = {
        labels.READY: (ready, "AllRolesReady", "All roles are ready")
        if ready
        else (False, "RoleNotReady", "; ".join(reasons)),
        labels.PROGRESSING: _progressing(ready, bool(stuck), rolling, views),
        labels.ROLLING: (bool(rolling), "RollingUpdate", f"rolling: {', '.join(rolling)}")
        if rolling
        else (False, "NoRollingUpdate", "every pod runs its role's template"),
    }
    if restart is not None:
        wish[labels.RESTARTING] = (True, "RBGRestart", restart)
    elif in_progress(group):
        if ready:
            wish[labels.RESTARTING] = (False, "RBGRestartCompleted", "every role is ready again")
    elif ready and condition(group, labels.RESTARTING) is None and _restarts_whole(group):
        wish[labels.RESTARTING] = (False, "NoRestart", "ready for the first time; pods are watched")
    return GroupStatus(
        observed_generation=group.generation,
        conditions=_conditions(group, wish, now),
        role_statuses=[view.role_status for view in views],
    )


def invalid_status(group: Group, faults: Sequence[Fault], now: str) -> GroupStatus:
    """The status of a group that cannot be built: nothing was changed, and this is why."""
    text = "; ".join(map(str, faults))
    wish = {
        labels.READY: (False, "InvalidSpec", text),
        labels.PROGRESSING: (False, "InvalidSpec", "nothing is changed until the spec is mended"),
    }
    return GroupStatus(
        observed_generation=group.generation,
        conditions=_conditions(group, wish, now),
        role_statuses=group.status.role_statuses,
    )


def _restarts_whole(group: Group) -> bool:
    return any(role.restart_policy == "RecreateRBGOnPodRestart" for role in group.spec.roles)


def _progressing(ready: bool, stuck: bool, rolling: list[str], views: Sequence[RoleView]) -> tuple[bool, str, str]:
    if ready:
        return False, "Complete", "nothing is left to do"
    if stuck:
        return False, "Blocked", "; ".join(f"role {v.plan.role.name}: {v.problem}" for v in views if v.problem)
    if rolling:
        return True, "RollingUpdate", f"rolling: {', '.join(rolling)}"
    waiting = [view for view in views if view.workload is None and view.waiting_for]
    if waiting:
        gate = "; ".join(f"{v.plan.role.name} waits for {', '.join(v.waiting_for)}" for v in waiting)
        return True, "DependencyNotMet", gate
    return True, "PodsStarting", "pods are starting"


def _conditions(group: Group, wish: Mapping[str, tuple[bool, str, str]], now: str) -> list[Condition]:
    """Ours, each with the time of its last flip; conditions of other writers are not ours to name."""
    kept = [item for item in group.status.conditions if item.type == labels.RESTARTING and item.type not in wish]
    made: list[Condition] = []
    for kind, (holds, reason, message) in wish.items():
        status: Literal["True", "False"] = "True" if holds else "False"
        old = condition(group, kind)
        since = old.last_transition_time if old is not None and old.status == status else now
        made.append(Condition(kind, status, reason, message, since, group.generation))
    return [*made, *kept]
