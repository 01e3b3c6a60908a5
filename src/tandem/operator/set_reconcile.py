"""One reconciliation of one set of groups: decide by `sets`, write, tell."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import msgspec

from tandem.core.paths import at
from tandem.operator.api import Api, ApiError
from tandem.operator.cache import Cache, GroupKey
from tandem.operator.compare import is_part_of, must_apply
from tandem.operator.faults import Fault
from tandem.operator.kinds import SetSpec
from tandem.operator.metrics import OperatorMetrics
from tandem.operator.parse import being_deleted, status_object
from tandem.operator.reconcile import KIND as GROUP_KIND
from tandem.operator.reconcile import Outcome
from tandem.operator.sets import SetPlan, parse_set, plan_set, set_status
from tandem.operator.shapes import fault_of
from tandem.operator.types import Raw

logger = logging.getLogger(__name__)

KIND: Final = "RoleBasedGroupSet"


class SetReconciler:
    """Reconciles sets. Arguments as for `GroupReconciler`."""

    def __init__(
        self,
        api: Api,
        cache: Cache,
        metrics: OperatorMetrics,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api, self._cache, self._metrics, self._clock = api, cache, metrics, clock

    async def reconcile(self, key: GroupKey) -> Outcome:
        """Bring one set's groups in line and tell its status."""
        item = self._cache.get(KIND, *key)
        if item is None or being_deleted(item):
            return Outcome()
        try:
            spec = parse_set(item)
            plan = plan_set(item, spec, self._children(item))
        except msgspec.ValidationError as error:
            spec, plan = SetSpec(), SetPlan(faults=[fault_of(error, "spec")])
        problems = [*plan.faults]
        failed = False
        for wish in plan.apply:
            name = wish["metadata"]["name"]
            found = self._cache.get(GROUP_KIND, key[0], name) or await self._api.get(GROUP_KIND, key[0], name)
            if found is not None and not _controls(item, found):
                problems.append(Fault(name, "a group of this name exists and is not this set's: delete or rename it"))
                continue
            if not must_apply(wish, found, None):
                continue
            try:
                self._cache.put(GROUP_KIND, await self._api.apply(wish))
                self._metrics.writes.labels(GROUP_KIND).inc()
            except ApiError as error:
                failed = True
                problems.append(Fault(name, str(error)))
        for child in plan.delete:
            await self._api.delete(child)
            self._metrics.writes.labels(GROUP_KIND).inc()
        await self._tell(item, spec, problems)
        return Outcome(failed=failed, again_after_s=20.0 if problems and not failed else None)

    def _children(self, item: Raw) -> list[Raw]:
        namespace = item["metadata"]["namespace"]
        return [
            child
            for child in self._cache.of_kind(GROUP_KIND)
            if child["metadata"].get("namespace") == namespace and _controls(item, child) and not being_deleted(child)
        ]

    async def _tell(self, item: Raw, spec: SetSpec, problems: list[Fault]) -> None:
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        status = set_status(item, spec, self._children(item), problems, now)
        metadata = item["metadata"]
        wish = status_object(KIND, metadata["name"], metadata["namespace"], status)
        wish["status"] = {"replicas": 0, "readyReplicas": 0, "updatedReplicas": 0, **wish["status"]}
        if not is_part_of(wish["status"], item.get("status") or {}):
            self._cache.put(KIND, await self._api.apply(wish, status=True))


def _controls(item: Raw, child: Raw) -> bool:
    owners = at(child, "metadata", "ownerReferences", default=[])
    return any(owner.get("uid") == item["metadata"]["uid"] for owner in owners)
