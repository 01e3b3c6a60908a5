"""The RoleBasedGroup as Python values: one superset of v1alpha1 (v0.3 to v0.6) and of v1alpha2's patterns.

The CRDs are generated from these classes (`crds`), so a default, a limit or an enum stands here only. Pod templates and
patches stay plain dictionaries: the API server knows their schema better, and a copy of it would make the CRD larger
than what `kubectl apply` can take. Fields that only newer or older versions know are optional.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Raw = dict[str, Any]
"""A Kubernetes object or part of one, as the API spells it."""
IntOrString = int | str
Percent = Annotated[str, Meta(pattern="^([0-9]|[1-9][0-9]|100)%$")]
Count = Annotated[int, Meta(ge=0)]
Text = Annotated[str, Meta(min_length=1)]


class Spec(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Base: camelCase in the API; fields that we do not know are kept by the server and ignored here."""


class Workload(Spec, frozen=True):
    """Which kind of object runs a role's pods."""

    api_version: Annotated[
        str,
        Meta(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/v[0-9]+((alpha|beta)[0-9]+)?$"),
    ] = "apps/v1"
    kind: str = "StatefulSet"


class RollingUpdate(Spec, frozen=True):
    """How many pods of a role may differ from the wish while its template changes."""

    type: Literal["", "Recreate", "RecreatePod", "InPlaceIfPossible", "InPlaceOnly"] | None = None
    partition: IntOrString | None = None
    max_unavailable: IntOrString = 1
    max_surge: IntOrString = 0
    paused: bool = False
    in_place_update_strategy: Raw | None = None


class RolloutStrategy(Spec, frozen=True):
    type: Literal["RollingUpdate"] = "RollingUpdate"
    rolling_update: RollingUpdate | None = None


class TemplateRef(Spec, frozen=True):
    """One of the group's `roleTemplates`; `patch` is v1alpha2's place for what v1alpha1 calls `templatePatch`."""

    name: Text
    patch: Raw | None = None


class LeaderWorkerSet(Spec, frozen=True):
    """v1alpha1: a role whose replicas are groups of `size` pods, the leader included."""

    size: Annotated[int, Meta(ge=1)] = 1
    patch_leader_template: Raw | None = None
    patch_worker_template: Raw | None = None


class StandalonePattern(Spec, frozen=True):
    """v1alpha2: one pod per replica."""

    template: Raw | None = None
    template_ref: TemplateRef | None = None


class LeaderWorkerPattern(Spec, frozen=True):
    """v1alpha2: a leader and its workers per replica."""

    size: Annotated[int, Meta(ge=1)] = 1
    template: Raw | None = None
    template_ref: TemplateRef | None = None
    leader_template_patch: Raw | None = None
    worker_template_patch: Raw | None = None
    shared_service_selection: Literal["All", "LeaderOnly"] | None = None
    restart_policy: str | None = None
    restart_policy_config: Raw | None = None


class EngineRuntime(Spec, frozen=True):
    """Containers of a ClusterEngineRuntimeProfile that join the role's pods."""

    profile_name: Text
    inject_containers: list[str] = []
    """Names of the profile's containers to take; empty takes all."""
    containers: list[Raw] = []
    """Env and args to append to the profile's containers of the same name."""


class ScalingAdapterSwitch(Spec, frozen=True):
    enable: bool = False
    labels: dict[str, str] = {}


class Role(Spec, frozen=True):
    """A named kind of pod in the group."""

    name: Text
    labels: dict[str, str] = {}
    """Put on the workload, not on pods."""
    annotations: dict[str, str] = {}
    replicas: Count = 1
    rollout_strategy: RolloutStrategy | None = None
    restart_policy: Literal["None", "RecreateRBGOnPodRestart", "RecreateRoleInstanceOnPodRestart"] | None = None
    dependencies: list[str] = []
    """Roles that must be ready before this one starts."""
    workload: Workload = Workload()
    template: Raw | None = None
    template_ref: TemplateRef | None = None
    template_patch: Raw | None = None
    leader_worker_set: LeaderWorkerSet | None = None
    components: list[Raw] = []
    service_ports: list[Raw] = []
    engine_runtimes: list[EngineRuntime] = []
    scaling_adapter: ScalingAdapterSwitch | None = None
    min_ready_seconds: Count = 0
    pod_management_policy: Literal["Parallel", "OrderedReady"] | None = None
    standalone_pattern: StandalonePattern | None = None
    leader_worker_pattern: LeaderWorkerPattern | None = None
    custom_components_pattern: Raw | None = None


class RoleTemplate(Spec, frozen=True):
    name: Annotated[str, Meta(min_length=1, max_length=63, pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    template: Raw


class KubeScheduling(Spec, frozen=True):
    schedule_timeout_seconds: int = 60


class VolcanoScheduling(Spec, frozen=True):
    priority_class_name: str | None = None
    queue: str | None = None


class PodGroupPolicy(Spec, frozen=True):
    """Start all pods of the group together or none. One of the two schedulers."""

    kube_scheduling: KubeScheduling | None = None
    volcano_scheduling: VolcanoScheduling | None = None
    role_minimums: dict[str, int] = {}
    """Replicas of a role that the gang waits for; a role that is not named is waited for whole. Not known upstream."""


class CoordinatedRollingUpdate(Spec, frozen=True):
    max_skew: Percent | None = None
    partition: Percent | None = None
    max_unavailable: Percent | None = None


class CoordinatedScaling(Spec, frozen=True):
    max_skew: Percent | None = None
    progression: Literal["OrderScheduled", "OrderReady"] = "OrderScheduled"


class CoordinationStrategy(Spec, frozen=True):
    rolling_update: CoordinatedRollingUpdate | None = None
    scaling: CoordinatedScaling | None = None


class Coordination(Spec, frozen=True):
    """Roles whose rollouts or scaling keep step."""

    name: Text
    roles: list[str]
    strategy: CoordinationStrategy | None = None


class GroupSpec(Spec, frozen=True):
    roles: Annotated[list[Role], Meta(min_length=1)]
    role_templates: list[RoleTemplate] = []
    pod_group_policy: PodGroupPolicy | None = None
    coordination: list[Coordination] = []


class Condition(Spec, frozen=True):
    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""
    last_transition_time: str = ""
    observed_generation: int = 0


class RoleStatus(Spec, frozen=True):
    name: str
    replicas: int
    ready_replicas: int
    updated_replicas: int


class GroupStatus(Spec, frozen=True):
    observed_generation: int = 0
    conditions: list[Condition] = []
    role_statuses: list[RoleStatus] = []


class Group(Struct, frozen=True, kw_only=True):
    """A RoleBasedGroup as the rules see it."""

    name: str
    namespace: str
    uid: str
    generation: int
    annotations: Mapping[str, str]
    labels: Mapping[str, str]
    spec: GroupSpec
    status: GroupStatus = GroupStatus()

    def role(self, name: str) -> Role | None:
        """The role of that name, if the group has it."""
        return next((role for role in self.spec.roles if role.name == name), None)
