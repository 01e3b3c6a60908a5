"""The other kinds of the API group: sets of groups, scaling adapters, engine runtime profiles."""

from typing import Annotated, Literal

from msgspec import Meta

from tandem.operator.types import Condition, Count, GroupSpec, IntOrString, Raw, Spec, Text


class GroupTemplate(Spec, frozen=True):
    """v1alpha2's form of a set's template: with metadata for the children."""

    spec: GroupSpec
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class SetRollout(Spec, frozen=True):
    """How a changed template reaches the groups of a set. Not known upstream, which changes all at once."""

    max_unavailable: IntOrString = 1


class SetSpec(Spec, frozen=True):
    replicas: Count = 1
    template: GroupSpec | None = None
    group_template: GroupTemplate | None = None
    rollout_strategy: SetRollout | None = None


class SetStatus(Spec, frozen=True):
    observed_generation: int = 0
    replicas: int = 0
    ready_replicas: int = 0
    updated_replicas: int = 0
    selector: str = ""
    conditions: list[Condition] = []


class ScaleTarget(Spec, frozen=True):
    name: Text
    role: Text


class AdapterSpec(Spec, frozen=True):
    scale_target_ref: ScaleTarget
    replicas: Annotated[int, Meta(ge=0)] | None = None


class AdapterStatus(Spec, frozen=True):
    phase: Literal["", "NotBound", "Bound"] | None = None
    replicas: int | None = None
    ready_replicas: int | None = None
    selector: str | None = None
    last_scale_time: str | None = None


class ProfileSpec(Spec, frozen=True):
    """Containers and volumes that engines of many groups share, such as a metrics sidecar."""

    init_containers: list[Raw] = []
    containers: list[Raw] = []
    volumes: list[Raw] = []
    update_strategy: Literal["NoUpdate", "RollingUpdate"] = "NoUpdate"
    """Accepted and not heeded, as upstream: a changed profile rolls the pods that use it."""
