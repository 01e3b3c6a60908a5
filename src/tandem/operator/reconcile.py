"""One reconciliation of one group: read the cache, decide, write what differs, say how it is.

The order is load, decide (`children`, pure), apply. Nothing is remembered but `Memo`s, which only save writes. An error
of one object leaves the others alone and brings the key back.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from secrets import token_urlsafe
from typing import Final

import msgspec

from tandem.core.paths import at
from tandem.operator import labels
from tandem.operator.adapters import KIND as ADAPTER
from tandem.operator.adapters import Overridden, adapter_status, enabled, with_adapters
from tandem.operator.api import JSON_PATCH, Api, ApiError, url_of
from tandem.operator.cache import Cache, GroupKey, group_of
from tandem.operator.children import WORKLOADS, Plan, plan_children
from tandem.operator.compare import Memo, is_part_of, must_apply, version_of
from tandem.operator.events import Note, event, scaling_notes, transitions
from tandem.operator.faults import InvalidGroup
from tandem.operator.hub_token import misses_secret, token_object
from tandem.operator.kinds import ProfileSpec
from tandem.operator.managers import RESTORED, takeover
from tandem.operator.metrics import OperatorMetrics
from tandem.operator.parse import being_deleted, parse_group, shell_of, status_object
from tandem.operator.ports import asks_for_ports, read
from tandem.operator.restarts import trigger
from tandem.operator.seen import Key, Seen, ServerFacts, ownership
from tandem.operator.status import RoleView, group_status, invalid_status, refreshed
from tandem.operator.types import Group, GroupStatus, Raw, Role
from tandem.operator.workloads import name_of

logger = logging.getLogger(__name__)

KIND: Final = "RoleBasedGroup"
_LOOK_AGAIN_S: Final = 20.0
"""After a problem that no watch will tell us the end of, such as a foreign namesake."""
_AT_ONCE: Final = 8
_numbers = count()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a reconciliation ended. `failed`: something was refused, so try again soon."""

    failed: bool = False
    again_after_s: float | None = None


class GroupReconciler:
    """Reconciles groups; many keys may be worked on at once, never one key twice.

    Args:
        facts: what the server can do, as known now.
        clock: the time of day.
    """

    def __init__(
        self,
        api: Api,
        cache: Cache,
        metrics: OperatorMetrics,
        facts: Callable[[], ServerFacts],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api, self._cache, self._metrics, self._facts, self._clock = api, cache, metrics, facts, clock
        self._memos: dict[tuple[str, str, str], Memo] = {}
        self._ports: dict[GroupKey, frozenset[int]] = {}
        """Ports that were given just now, perhaps not yet in the cache."""
        self._secrets: dict[GroupKey, str] = {}
        """Secrets with tokens that are known to be there."""

    async def reconcile(self, key: GroupKey) -> Outcome:
        """Bring one group's children in line and tell its status."""
        item = self._cache.get(KIND, *key)
        if item is None or being_deleted(item):
            return Outcome()
        try:
            group = parse_group(item)
        except InvalidGroup as error:
            shell = shell_of(item)
            await self._tell(item, shell, invalid_status(shell, error.faults, self._now()))
            return Outcome()
        seen = self._seen(key)
        group, overridden = with_adapters(group, seen)
        if (why := trigger(group, seen.pods)) is not None:
            logger.info("group.restart group=%s/%s why=%s", *key, why)
            views = [RoleView(plan=v.plan, workload=v.workload, problem=why) for v in plan_children(group, seen).views]
            status = group_status(group, views, restart=why, now=self._now())
            await self._tell(item, group, status)
            group = msgspec.structs.replace(group, status=status)
            item = self._cache.get(KIND, *key) or item
        plan = self._decide(key, group, seen)
        if plan.faults:
            await self._tell(item, group, invalid_status(group, plan.faults, self._now()))
            return Outcome()
        unknown = [wish for wish in plan.apply if seen.get(wish["kind"], wish["metadata"]["name"]) is None]
        if unknown:
            if not await self._still_there(group):
                return Outcome()
            strangers = await self._strangers(unknown)
            if strangers:
                seen = replace(seen, objects={**seen.objects, **strangers})
                group, overridden = with_adapters(group, seen)
                plan = self._decide(key, group, seen)
        errors = await self._make_secret(key, plan, seen)
        errors |= await self._write(plan, seen)
        errors |= await self._scale(group, overridden)
        views = [self._fresh(group, view, plan, errors) for view in plan.views]
        status = group_status(group, views, restart=None, now=self._now())
        notes = scaling_notes(overridden)
        await self._tell(item, group, status, notes)
        await self._tell_adapters(group)
        stuck = any(view.problem for view in views)
        return Outcome(failed=bool(errors), again_after_s=_LOOK_AGAIN_S if stuck else None)

    def forget(self, kind: str, namespace: str, name: str) -> None:
        """An object is gone: what the server once answered about it does not count any more."""
        self._memos.pop((kind, namespace, name), None)
        if kind == KIND:
            self._ports.pop((namespace, name), None)
            self._secrets.pop((namespace, name), None)

    # ── load ──

    def _seen(self, key: GroupKey) -> Seen:
        found = self._cache.of_group(key)
        pods = [item for (kind, _), item in found.items() if kind == "Pod"]
        children = {where: item for where, item in found.items() if where[0] not in ("Pod", KIND)}
        return Seen(objects=children, pods=pods, profiles=self._profiles(), facts=self._facts())

    def _decide(self, key: GroupKey, group: Group, seen: Seen) -> Plan:
        """Plan, and note which ports that gives. Nothing is awaited in between, or two groups could get the same."""
        if asks_for_ports(group.spec):
            seen = replace(seen, ports_taken=self._ports_taken(key))
        plan = plan_children(group, seen)
        found = {number for wish in plan.apply if wish["kind"] == "ConfigMap" for number in read(wish).values()}
        if found:
            self._ports[key] = frozenset(found)
        else:
            self._ports.pop(key, None)
        return plan

    def _ports_taken(self, key: GroupKey) -> frozenset[int]:
        """What other groups have, by the cache or by what was decided a moment ago."""
        kept = [read(item).values() for item in self._cache.of_kind("ConfigMap") if group_of(item) != key]
        given = [ports for other, ports in self._ports.items() if other != key]
        return frozenset().union(*kept, *given)

    def _profiles(self) -> dict[str, ProfileSpec]:
        found: dict[str, ProfileSpec] = {}
        for item in self._cache.of_kind("ClusterEngineRuntimeProfile"):
            try:
                found[item["metadata"]["name"]] = msgspec.convert(item.get("spec") or {}, ProfileSpec)
            except msgspec.ValidationError as error:
                logger.warning("profile.invalid name=%s %s", item["metadata"]["name"], error)
        return found

    async def _still_there(self, group: Group) -> bool:
        """Whether the group lives, asked of the server: a child of a deleted group would be made for nobody."""
        found = await self._api.get(KIND, group.namespace, group.name)
        if found is None or found["metadata"]["uid"] != group.uid or being_deleted(found):
            if found is None:
                self._cache.drop(KIND, group.namespace, group.name)
            return False
        return True

    async def _strangers(self, wishes: Sequence[Raw]) -> dict[Key, Raw]:
        """Objects that stand under the names of children which the cache does not know."""

        async def look(wish: Raw) -> Raw | None:
            metadata = wish["metadata"]
            return await self._api.get(
                wish["kind"], metadata["namespace"], metadata["name"], api_version=wish["apiVersion"], cached=True
            )

        answers = await asyncio.gather(*map(look, wishes))
        return {
            (wish["kind"], wish["metadata"]["name"]): {**found, "kind": wish["kind"]}
            for wish, found in zip(wishes, answers, strict=True)
            if found is not None
        }

    # ── apply ──

    async def _make_secret(self, key: GroupKey, plan: Plan, seen: Seen) -> dict[Key, str]:
        """The Secret with the group's token, once. One that is there is left as it is: the operator may not read it."""
        if plan.secret is None or (self._secrets.get(key) == plan.secret["name"] and not misses_secret(seen.pods)):
            return {}
        name = plan.secret["name"]
        made = token_object(plan.secret, token_urlsafe(24))
        try:
            await self._api.create(url_of("Secret", key[0]), made)
            self._metrics.writes.labels("Secret").inc()
        except ApiError as error:
            if error.status != 409:
                logger.warning("secret.refused name=%s/%s %s", key[0], name, error)
                return {("Secret", name): f"Secret {name} was refused: {error}"}
        self._secrets[key] = name
        return {}

    async def _write(self, plan: Plan, seen: Seen) -> dict[Key, str]:
        """Apply what differs and delete what is surplus; returns what was refused, by object."""
        errors: dict[Key, str] = {}
        gate = asyncio.Semaphore(_AT_ONCE)
        first = [wish for wish in plan.apply if wish["kind"] not in WORKLOADS]
        then = [wish for wish in plan.apply if wish["kind"] in WORKLOADS]
        for stage in (first, then):
            due = [wish for wish in stage if self._differs(wish, seen)]
            await asyncio.gather(*(self._apply(wish, errors, gate) for wish in due))
        await asyncio.gather(*(self._delete(item, errors, gate) for item in plan.delete))
        return errors

    def _differs(self, wish: Raw, seen: Seen) -> bool:
        kind, metadata = wish["kind"], wish["metadata"]
        memo = self._memos.get((kind, metadata["namespace"], metadata["name"]))
        return must_apply(wish, seen.get(kind, metadata["name"]), memo)

    async def _apply(self, wish: Raw, errors: dict[Key, str], gate: asyncio.Semaphore) -> None:
        kind, metadata = wish["kind"], wish["metadata"]
        async with gate:
            try:
                found = await self._api.apply(wish)
                if kind in RESTORED and (steps := takeover(wish, found)):
                    path = url_of(kind, metadata["namespace"], metadata["name"])
                    await self._api.patch(path, steps, content=JSON_PATCH)
                    found = await self._api.apply(wish)
            except ApiError as error:
                errors[kind, metadata["name"]] = f"{kind} {metadata['name']} was refused: {error}"
                logger.warning(
                    "apply.refused kind=%s name=%s/%s %s", kind, metadata["namespace"], metadata["name"], error
                )
                return
        self._metrics.writes.labels(kind).inc()
        self._cache.put(kind, found)
        memo = Memo(metadata["annotations"][labels.APPLIED_HASH], version_of(found))
        self._memos[kind, metadata["namespace"], metadata["name"]] = memo

    async def _delete(self, item: Raw, errors: dict[Key, str], gate: asyncio.Semaphore) -> None:
        kind, metadata = item["kind"], item["metadata"]
        async with gate:
            try:
                await self._api.delete(item, foreground=kind in WORKLOADS)
            except ApiError as error:
                errors[kind, metadata["name"]] = f"{kind} {metadata['name']} could not be deleted: {error}"
                return
        self._metrics.writes.labels(kind).inc()
        self._memos.pop((kind, metadata["namespace"], metadata["name"]), None)
        if kind not in WORKLOADS:
            self._cache.drop(kind, metadata["namespace"], metadata["name"], uid=metadata.get("uid"))

    async def _scale(self, group: Group, overridden: Sequence[Overridden]) -> dict[Key, str]:
        """Make the group's spec agree with its adapters, and give new adapters their first number."""
        errors: dict[Key, str] = {}
        for item in overridden:
            where = f"/spec/roles/{item.index}"
            steps = [
                {"op": "test", "path": f"{where}/name", "value": item.role},
                {"op": "replace", "path": f"{where}/replicas", "value": item.after},
            ]
            try:
                path = url_of(KIND, group.namespace, group.name)
                self._cache.put(KIND, await self._api.patch(path, steps, content=JSON_PATCH))
            except ApiError as error:
                errors[KIND, group.name] = str(error)
        for role in group.spec.roles:
            name, adapter = name_of(group, role), self._adapter(group, role)
            if adapter is not None and at(adapter, "spec", "replicas") is None:
                path = url_of(ADAPTER, group.namespace, name)
                try:
                    self._cache.put(ADAPTER, await self._api.patch(path, {"spec": {"replicas": role.replicas}}))
                except ApiError as error:
                    errors[ADAPTER, name] = str(error)
        return errors

    def _adapter(self, group: Group, role: Role) -> Raw | None:
        """The role's adapter, if it has one and that is the group's."""
        found = self._cache.get(ADAPTER, group.namespace, name_of(group, role)) if enabled(role) else None
        return found if found is not None and ownership(found, group) == "ours" else None

    # ── tell ──

    def _fresh(self, group: Group, view: RoleView, plan: Plan, errors: dict[Key, str]) -> RoleView:
        """The view after the writes: with the workload as the server answered, and with what it refused."""
        name = name_of(group, view.plan.role)
        found = self._cache.get(view.plan.kind, group.namespace, name) if not view.problem else view.workload
        needed = {name, f"s-{name}", (plan.secret or {}).get("name")}
        refused = [text for (kind, child), text in errors.items() if child in needed or kind == "PodGroup"]
        fresh = refreshed(view, found)
        return replace(fresh, problem=view.problem or (refused[0] if refused else None))

    async def _tell(self, item: Raw, group: Group, status: GroupStatus, notes: Sequence[Note] = ()) -> None:
        """Write the status if it says something new, and an event for each transition."""
        before = shell_of(item).status
        wish = status_object(KIND, group.name, group.namespace, status)
        old = item.get("status") or {}
        if not is_part_of(wish["status"], old) or len(old.get("roleStatuses") or []) != len(status.role_statuses):
            found = await self._api.apply(wish, status=True)
            self._cache.put(KIND, found)
        for note in [*notes, *transitions(before, status)]:
            await self.post(item, note)

    async def post(self, item: Raw, note: Note) -> None:
        """Send an Event; one that the server does not want is no reason to stop."""
        suffix = f"{int(self._clock().timestamp() * 1e6):x}.{next(_numbers):x}"
        made = event({**item, "kind": item.get("kind") or KIND}, note, now=self._now(), suffix=suffix)
        try:
            await self._api.create(url_of("Event", made["metadata"]["namespace"]), made)
        except ApiError as error:
            logger.warning("event.refused reason=%s %s", note.reason, error)

    async def _tell_adapters(self, group: Group) -> None:
        for role in group.spec.roles:
            name, adapter = name_of(group, role), self._adapter(group, role)
            if adapter is None:
                continue
            workload = next((w for kind in WORKLOADS if (w := self._cache.get(kind, group.namespace, name))), None)
            status = adapter_status(group, role, adapter, workload, self._now())
            if status == adapter.get("status"):
                continue
            wish: Raw = {"apiVersion": f"{labels.GROUP}/v1alpha1", "kind": ADAPTER}
            wish |= {"metadata": {"name": name, "namespace": group.namespace}, "status": status}
            first = at(adapter, "status", "phase") != "Bound"
            self._cache.put(ADAPTER, await self._api.apply(wish, status=True))
            if first:
                await self.post(
                    adapter, Note("Normal", "SuccessfulBound", f"bound to role {role.name} of {group.name}")
                )

    def _now(self) -> str:
        return self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
