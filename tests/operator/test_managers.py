"""Whose fields a child has, and how others' become ours: what the next apply then takes away."""

from typing import Any

from tests.operator.builders import group, role, seen, settle, wish

from tandem.operator.cache import Cache
from tandem.operator.children import plan_children
from tandem.operator.compare import Memo, must_apply, version_of
from tandem.operator.labels import APPLIED_HASH, FIELD_MANAGER
from tandem.operator.managers import parts_of_others, takeover
from tandem.operator.types import Raw

MAIN, MORE = 'k:{"name":"main"}', 'k:{"name":"more"}'
STATUS = {"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": {"f:status": {"f:replicas": {}}}}


def template(**fields: Any) -> Raw:
    return {"f:template": {"f:spec": {"f:containers": fields}}}


def entry(manager: str, fields: Raw, operation: str = "Update", **more: Any) -> Raw:
    return {"manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsV1": fields, **more}


def live(*entries: Raw) -> tuple[Raw, Raw]:
    """A StatefulSet as it is wished, and as the server has it with these managers."""
    by = group(role("a"))
    wished = wish(plan_children(by, seen()), "StatefulSet", "pd-a")
    found = next(item for item in settle(by) if item["kind"] == "StatefulSet")
    return wished, {**found, "metadata": {**found["metadata"], "resourceVersion": "7", "managedFields": list(entries)}}


OURS = entry(FIELD_MANAGER, {"f:spec": template(**{MAIN: {".": {}, "f:image": {}}})}, "Apply")


def test_what_others_added_becomes_ours_and_the_rest_of_theirs_stays() -> None:
    restarted: Raw = {"f:metadata": {"f:annotations": {".": {}, "f:kubectl.kubernetes.io/restartedAt": {}}}}
    theirs = template(**{MORE: {".": {}, "f:image": {}}})["f:template"] | restarted
    edited = entry("kubectl-edit", {"f:spec": {"f:template": theirs, "f:revisionHistoryLimit": {}}})
    wished, found = live(OURS, edited, STATUS)
    replaced, locked = takeover(wished, found)
    containers: Raw = {MAIN: {".": {}, "f:image": {}}, MORE: {".": {}, "f:image": {}}}
    assert replaced["value"] == [
        {**OURS, "fieldsV1": {"f:spec": template(**containers)}},
        {**edited, "fieldsV1": {"f:spec": {"f:template": restarted, "f:revisionHistoryLimit": {}}}},
        STATUS,
    ]
    assert locked == {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"}


def test_nothing_is_taken_where_nobody_else_wrote() -> None:
    scaled = entry("kubectl", {"f:spec": {"f:replicas": {}}}, subresource="scale")
    restarted = entry("kubectl-rollout", {"f:spec": {"f:template": {"f:metadata": {"f:annotations": {"f:x": {}}}}}})
    wished, found = live(OURS, STATUS, scaled, restarted)
    assert parts_of_others(found) == []
    assert takeover(wished, found) == []


def test_a_pod_template_that_is_kept_stays_its_makers() -> None:
    """An adopted workload is applied without one; taken over, it would be gone."""
    wished, found = live(OURS, entry("rbg", {"f:spec": template(**{MAIN: {".": {}}}) | {"f:replicas": {}}}, "Apply"))
    kept = {**wished, "spec": {key: value for key, value in wished["spec"].items() if key != "template"}}
    [replaced, _] = takeover(kept, found)
    assert [item["fieldsV1"] for item in replaced["value"]] == [
        {"f:spec": OURS["fieldsV1"]["f:spec"] | {"f:replicas": {}}},
        {"f:spec": template(**{MAIN: {".": {}}})},
    ]
    ranks = {"apiVersion": "apps/v1", "spec": {"leaderWorkerTemplate": {"size": 2}}}
    made: Raw = {"f:spec": {"f:leaderWorkerTemplate": {"f:leaderTemplate": {"f:spec": {}}}}}
    assert takeover(ranks, {"metadata": {"managedFields": [OURS, entry("rbg", made, "Apply")]}}) == []


def test_an_addition_is_seen_and_applied_once() -> None:
    wished, found = live(OURS, entry("kubectl-edit", {"f:spec": template(**{MAIN: {"f:command": {}}})}))
    cache = Cache()
    cache.put("StatefulSet", found)
    known = cache.get("StatefulSet", "default", "pd-a")
    assert must_apply(wished, known, None)
    assert known is not None
    assert not must_apply(wished, known, Memo(wished["metadata"]["annotations"][APPLIED_HASH], version_of(known)))
    cache.put("StatefulSet", {**found, "metadata": {**found["metadata"], "managedFields": [OURS]}})
    assert not must_apply(wished, cache.get("StatefulSet", "default", "pd-a"), None)
