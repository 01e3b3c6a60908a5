"""Groups and clusters in words."""

from collections.abc import Mapping
from typing import Any

import msgspec

from tandem.operator.children import Plan, owner, plan_children
from tandem.operator.compare import stamped
from tandem.operator.kinds import ProfileSpec
from tandem.operator.seen import Seen, ServerFacts
from tandem.operator.types import Group, GroupSpec, GroupStatus, Raw

ALL_KINDS = frozenset(
    {"LeaderWorkerSet.leaderworkerset.x-k8s.io", "PodGroup.scheduling.x-k8s.io", "PodGroup.scheduling.volcano.sh"}
)


def pod(*containers: str, **spec: Any) -> Raw:
    """A pod template."""
    named = [{"name": name, "image": "busybox"} for name in containers or ("main",)]
    return {"spec": {"containers": named, **spec}}


def role(name: str, **fields: Any) -> Raw:
    """A role as its author writes it: `role("a", replicas=2, dependencies=["b"])`."""
    if not {"template", "templateRef", "standalonePattern", "leaderWorkerPattern"} & fields.keys():
        fields["template"] = pod()
    return {"name": name, **fields}


def spec(*roles: Raw, **fields: Any) -> GroupSpec:
    return msgspec.convert({"roles": list(roles), **fields}, GroupSpec)


def group(
    *roles: Raw,
    name: str = "pd",
    generation: int = 1,
    annotations: Mapping[str, str] | None = None,
    status: Raw | None = None,
    **fields: Any,
) -> Group:
    return Group(
        name=name,
        namespace="default",
        uid="uid-1",
        generation=generation,
        annotations=annotations or {},
        labels={},
        spec=spec(*(roles or (role("main"),)), **fields),
        status=msgspec.convert(status or {}, GroupStatus),
    )


def seen(*objects: Raw, pods: tuple[Raw, ...] = (), minor: int = 30, profiles: Raw | None = None) -> Seen:
    return Seen(
        objects={(item["kind"], item["metadata"]["name"]): item for item in objects},
        pods=pods,
        profiles={name: msgspec.convert(value, ProfileSpec) for name, value in (profiles or {}).items()},
        facts=ServerFacts(minor=minor, kinds=ALL_KINDS),
    )


def observed(wish: Raw, *, ready: int | None = None, updated: int | None = None, **status: Any) -> Raw:
    """A wish that the server took and whose controller has caught up: `ready` pods, all updated."""
    replicas = wish.get("spec", {}).get("replicas", 0)
    count = replicas if ready is None else ready
    metadata = {**wish["metadata"], "generation": 1, "uid": "child", "creationTimestamp": "2026-01-01T00:00:00Z"}
    full = {
        "observedGeneration": 1,
        "replicas": replicas,
        "readyReplicas": count,
        "updatedReplicas": replicas if updated is None else updated,
        "currentRevision": "r1",
        "updateRevision": "r1",
        **status,
    }
    return {**wish, "metadata": metadata, "status": full}


def someone_elses(kind: str, name: str, **more: Any) -> Raw:
    return {"kind": kind, "metadata": {"name": name, "namespace": "default"}, **more}


def owned(kind: str, name: str, by: Group, **more: Any) -> Raw:
    """A child of `by` that no rule asks for."""
    metadata = {"name": name, "namespace": "default", "ownerReferences": [owner(by)]}
    return stamped({"kind": kind, "metadata": metadata, **more})


DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment"}
LWS = {"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet"}
GUIDE = [
    role("processor", template=pod("processor")),
    role("prefill", replicas=2, template=pod("prefill-worker")),
    role("decoder", template=pod("vllm-worker")),
]


def names(plan: Plan) -> list[tuple[str, str]]:
    return [(item["kind"], item["metadata"]["name"]) for item in plan.apply if item["kind"] != "ControllerRevision"]


def wish(plan: Plan, kind: str, name: str) -> Raw:
    return next(item for item in plan.apply if (item["kind"], item["metadata"]["name"]) == (kind, name))


def settle(by: Group, *, ready: int | None = None, **fields: Any) -> list[Raw]:
    """Everything that the group wants, made."""
    made: list[Raw] = []
    while True:
        fresh = [item for item in plan_children(by, seen(*made, **fields)).apply if _new(item, made)]
        if not fresh:
            return made
        made += [observed(item, ready=ready) for item in fresh]


def _new(item: Raw, made: list[Raw]) -> bool:
    return (item["kind"], item["metadata"]["name"]) not in {(m["kind"], m["metadata"]["name"]) for m in made}
