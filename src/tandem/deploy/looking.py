"""Gather a `Look` from a cluster: what runs of a service, and what the cluster says about it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from tandem.core.paths import at
from tandem.deploy.description import Description
from tandem.deploy.etcd import etcd_name
from tandem.deploy.look import Look, is_ready
from tandem.deploy.nats import nats_name
from tandem.deploy.objects import INSTANCE, Object
from tandem.deploy.ports import Cluster, Forbidden
from tandem.deploy.storage import mounted_claim

_GROUP = "workloads.x-k8s.io/v1alpha1"
_LOGS = 6
"""Pods whose logs are read at most: those of one role say the same."""


async def look_at(cluster: Cluster, wish: Description, *, like_the_guide: bool = False) -> Look:
    """One moment of the service."""
    there = await namespace_there(cluster, wish)
    served = await cluster.serves(_GROUP, "RoleBasedGroup")
    if not there or not served:
        return Look(namespace=wish.namespace, name=wish.name, namespace_there=there, group_served=served)
    expected = _expected(wish, like_the_guide)
    pods = await _pods(cluster, wish, like_the_guide)
    claims = _claim_names(wish, pods, like_the_guide)
    group = await cluster.get(_named(_GROUP, "RoleBasedGroup", wish.name, wish))
    return Look(
        namespace=wish.namespace,
        name=wish.name,
        group=group,
        group_age_s=_age_s(group),
        wished={name: role.replicas for name, role in wish.every_role().items()},
        planes=await _planes(cluster, wish, expected, like_the_guide),
        expected_planes=expected,
        pods=pods,
        claims={name: await cluster.get(_named("v1", "PersistentVolumeClaim", name, wish)) for name in claims},
        events=await _if_allowed(cluster, "Event", wish.namespace),
        logs=await _logs(cluster, wish, pods),
        nodes=await _if_allowed(cluster, "Node", None) or None,
        datasets=await _datasets(cluster, wish),
    )


async def namespace_there(cluster: Cluster, wish: Description) -> bool:
    """Whether the namespace is there. Who may not look at namespaces has been given one."""
    try:
        space: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": wish.namespace}}
        return await cluster.get(space) is not None
    except Forbidden:
        return True


async def _if_allowed(cluster: Cluster, kind: str, namespace: str | None) -> Sequence[Object]:
    """What makes sentences better and need not be had."""
    try:
        return await cluster.listed("v1", kind, namespace)
    except Forbidden:
        return []


def _age_s(item: Object | None) -> float | None:
    born = at(item, "metadata", "creationTimestamp")
    return None if born is None else (datetime.now(UTC) - datetime.fromisoformat(born)).total_seconds()


def _named(api: str, kind: str, name: str, wish: Description) -> Object:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": wish.namespace}}


def _expected(wish: Description, like_the_guide: bool) -> list[str]:
    if like_the_guide:
        return ["etcd", "nats"]
    planes = [] if wish.planes.etcd.endpoints else [etcd_name(wish)]
    return planes + ([] if wish.planes.nats.server else [nats_name(wish)])


async def _planes(cluster: Cluster, wish: Description, names: Sequence[str], like_the_guide: bool) -> list[Object]:
    found = []
    for name in names:
        kind = "Deployment" if like_the_guide and name == "nats" else "StatefulSet"
        live = await cluster.get(_named("apps/v1", kind, name, wish))
        if live is not None:
            found.append({"kind": kind, **live})
    return found


async def _pods(cluster: Cluster, wish: Description, like_the_guide: bool) -> list[Object]:
    """By our label and by the operators'; in the guide's set etcd and NATS have a label of their own."""
    selectors = [
        f"{INSTANCE}={wish.name}",
        f"rolebasedgroup.workloads.x-k8s.io/name={wish.name}",
        f"rbg.workloads.x-k8s.io/group-name={wish.name}",
    ]
    if like_the_guide:
        selectors.append("app in (etcd,nats)")
    found: dict[str, Object] = {}
    for selector in selectors:
        for pod in await cluster.listed("v1", "Pod", wish.namespace, selector):
            found[pod["metadata"]["name"]] = pod
    return [found[name] for name in sorted(found)]


def _claim_names(wish: Description, pods: Sequence[Object], like_the_guide: bool) -> list[str]:
    names = [] if like_the_guide else [mounted_claim(wish)]
    for pod in pods:
        volumes: list[Any] = at(pod, "spec", "volumes") or []
        names += [each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each]
    return list(dict.fromkeys(names))


async def _logs(cluster: Cluster, wish: Description, pods: Sequence[Object]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pod in pods:
        if is_ready(pod) or len(found) == _LOGS:
            continue
        for status in at(pod, "status", "containerStatuses") or []:
            ended = at(status, "lastState", "terminated") is not None
            if ended or at(status, "state", "running") is not None:
                name = pod["metadata"]["name"]
                previous = ended and at(status, "state", "running") is None
                found[name] = await cluster.log(wish.namespace, name, status["name"], previous=previous)
                break
    return found


async def _datasets(cluster: Cluster, wish: Description) -> list[Object]:
    if wish.model.cache is None:
        return []
    found = []
    for kind in ("Dataset", "DataLoad"):
        for item in await cluster.listed("data.fluid.io/v1alpha1", kind, wish.namespace, f"{INSTANCE}={wish.name}"):
            found.append({"kind": kind, **item})
    return found
