"""The shell around the rules: ask the cluster, decide by `plan`, `secrets` and `diagnosis`, and act.

An apply is asked of the server as a dry run first, whole: one object that it refuses, and nothing is written.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tandem.deploy.description import Description
from tandem.deploy.diagnosis import INSTALL
from tandem.deploy.look import Look, all_ready
from tandem.deploy.looking import namespace_there
from tandem.deploy.objects import INSTANCE, MANAGER, NeededSecret, Object, Step
from tandem.deploy.plan import Change, change_of, immovable, managed, sendable, settled, title
from tandem.deploy.ports import Cluster, Forbidden, Refused
from tandem.deploy.secrets import Decision, decide, is_ours
from tandem.errors import RequestError, Unavailable

_INSTALL = {
    "RoleBasedGroup": INSTALL,
    "PodMonitor": "install the Prometheus operator, or set metrics.monitor: false",
    "ScaledObject": "install KEDA, or set metrics.autoscaler: hpa",
    "HTTPRoute": "install the Gateway API and a controller, or use kind: ingress",
    "Dataset": "install Fluid, or leave out model.cache",
}
_KEPT = ("PersistentVolume", "PersistentVolumeClaim", "Secret")

PRUNED = (
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "Job"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("networking.k8s.io/v1", "Ingress"),
    ("policy/v1", "PodDisruptionBudget"),
    ("policy/v1beta1", "PodDisruptionBudget"),
    ("autoscaling/v1", "HorizontalPodAutoscaler"),
    ("monitoring.coreos.com/v1", "PodMonitor"),
    ("keda.sh/v1alpha1", "ScaledObject"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("data.fluid.io/v1alpha1", "DataLoad"),
    ("data.fluid.io/v1alpha1", "JindoRuntime"),
    ("data.fluid.io/v1alpha1", "AlluxioRuntime"),
    ("data.fluid.io/v1alpha1", "Dataset"),
)
"""Kinds that may be left over from an earlier description, in each version that has been rendered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an apply would do, or why it cannot."""

    changes: Sequence[Change] = ()
    secrets: Sequence[Decision] = ()
    leftovers: Sequence[Object] = ()
    """Live objects of ours that are described no longer."""
    faults: Sequence[str] = field(default_factory=list)

    @property
    def differs(self) -> bool:
        return any(change.verb != "keep" for change in self.changes) or any(each.make for each in self.secrets)


async def survey(
    cluster: Cluster,
    wish: Description,
    steps: Sequence[Step],
    *,
    environ: Mapping[str, str],
    random_hex: Callable[[int], str],
) -> Plan:
    """Dry-run everything on the server; collect what it refuses."""
    if not await namespace_there(cluster, wish):
        return Plan(faults=[f"there is no namespace {wish.namespace}: kubectl create namespace {wish.namespace}"])
    objects = [item for step in steps for item in step.objects if item["kind"] != "Secret"]
    if faults := await _unserved(cluster, objects):
        return Plan(faults=faults)
    needs = {need.name: need for step in steps for need in step.secrets}
    secrets = [await _secret(cluster, wish, need, environ, random_hex) for need in needs.values()]
    faults = [each.fault for each in secrets if each.fault]
    changes: list[Change] = []
    for item in objects:
        live = await cluster.get(item)
        if fault := immovable(item, live):
            faults.append(fault)
            continue
        final = sendable(settled(item, live))
        try:
            changes.append(change_of(final, live, await cluster.apply(final, dry_run=True)))
        except Refused as error:
            faults.append(f"{title(item)} is refused: {error}")
    return Plan(changes=changes, secrets=secrets, leftovers=await _leftovers(cluster, wish, objects), faults=faults)


async def _unserved(cluster: Cluster, objects: Sequence[Object]) -> list[str]:
    faults = []
    for api, kind in dict.fromkeys((item["apiVersion"], item["kind"]) for item in objects):
        if not await cluster.serves(api, kind):
            mend = _INSTALL.get(kind, "")
            faults.append(f"this cluster does not know {kind} of {api}{f': {mend}' if mend else ''}")
    return faults


async def _secret(
    cluster: Cluster,
    wish: Description,
    need: NeededSecret,
    environ: Mapping[str, str],
    random_hex: Callable[[int], str],
) -> Decision:
    name = {"name": need.name, "namespace": wish.namespace}
    live = await cluster.get({"apiVersion": "v1", "kind": "Secret", "metadata": name})
    return decide(need, live, wish, environ, random_hex)


async def _leftovers(cluster: Cluster, wish: Description, objects: Sequence[Object]) -> list[Object]:
    """Ours by label and field manager, described no longer. Volumes and Secrets are never among them."""
    described = {(item["kind"], item["metadata"]["name"]) for item in objects}
    found = []
    for api, kind in PRUNED:
        try:
            listed = await cluster.listed(api, kind, wish.namespace, _selector(wish))
        except Forbidden:
            continue  # who may not see a kind has made none of it
        for item in listed:
            key = (kind, item["metadata"]["name"])
            if key not in described and managed(item) and not item["metadata"].get("ownerReferences"):
                found.append({"apiVersion": api, "kind": kind, **item})
                described.add(key)  # a server may show it in two versions
    return found


def _selector(wish: Description) -> str:
    return f"{INSTANCE}={wish.name},app.kubernetes.io/managed-by={MANAGER}"


async def carry_out(cluster: Cluster, plan: Plan, *, prune: bool, say: Callable[[str], None]) -> None:
    """Write what was planned, in order.

    Raises:
        RequestError: the server changed its mind after its own dry run; the message says what had been written.
    """
    written: list[str] = []
    try:
        for secret in plan.secrets:
            if secret.make is not None:
                await cluster.create(secret.make)
                written.append(f"Secret {secret.name}")
                say(f"Secret {secret.name} {secret.about}")
        for change in plan.changes:
            if change.verb != "keep":
                await cluster.apply(change.item, dry_run=False)
                written.append(change.title)
                say(f"{change.title} {'created' if change.verb == 'create' else 'changed'}")
        for item in plan.leftovers if prune else ():
            await cluster.delete(item)
            say(f"{title(item)} deleted")
    except Refused as error:
        before = f"; written before that: {', '.join(written)}" if written else "; nothing was written"
        raise RequestError(f"{error}{before}. Mend it and apply again") from error


async def wait(
    look: Callable[[], Awaitable[Look]],
    show: Callable[[Look], None],
    *,
    timeout_s: float,
    interval_s: float = 2.0,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Look:
    """Look until all is ready or time is up; the last look tells which. An API server that is away is waited for.

    Raises:
        Unavailable: it is still away when time is up.
    """
    until = clock() + timeout_s
    while True:
        try:
            found = await look()
            show(found)
            if all_ready(found) or clock() >= until:
                return found
        except Unavailable:
            if clock() >= until:
                raise
        await pause(min(interval_s, max(until - clock(), 0.0)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What a delete would take away, what it keeps, and what it leaves because it is not ours."""

    objects: Sequence[Object]
    kept: Sequence[Object]
    foreign: Sequence[Object]


async def removal(cluster: Cluster, wish: Description, steps: Sequence[Step], *, volumes: bool) -> Removal:
    """The last step goes first, so that nothing is served by half; what an earlier description left goes too.

    Data and passwords stay unless `volumes`.
    """
    objects: list[Object] = []
    kept: list[Object] = []
    foreign: list[Object] = []
    for step in reversed(steps):
        for item in reversed(step.objects):
            live = None if item["kind"] == "Secret" else await cluster.get(item)
            if live is None:
                continue
            live = {"apiVersion": item["apiVersion"], "kind": item["kind"], **live}
            if not managed(live):
                foreign.append(live)
            else:
                (kept if item["kind"] in _KEPT and not volumes else objects).append(live)
        for need in step.secrets:
            head = {"name": need.name, "namespace": wish.namespace}
            live = await cluster.get({"apiVersion": "v1", "kind": "Secret", "metadata": head})
            if live is not None and is_ours(live, wish):
                live = {"apiVersion": "v1", "kind": "Secret", **live}
                (objects if volumes else kept).append(live)
    objects += await _leftovers(cluster, wish, [item for step in steps for item in step.objects])
    for claim in await cluster.listed("v1", "PersistentVolumeClaim", wish.namespace, _selector(wish)):
        names = [item["metadata"]["name"] for item in [*objects, *kept] if item["kind"] == "PersistentVolumeClaim"]
        if claim["metadata"]["name"] not in names:  # those that StatefulSets made from their templates
            claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **claim}
            (objects if volumes else kept).append(claim)
    return Removal(objects=objects, kept=kept, foreign=foreign)
