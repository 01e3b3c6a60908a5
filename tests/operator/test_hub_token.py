"""The token of a group's hub: which groups get one, from which Secret, and what happens to the Secret."""

from typing import Any

import pytest
from tests.operator.builders import DEPLOYMENT, LWS, group, pod, role, seen, settle, wish
from tests.operator.test_reconcile import a_group, world

from tandem.operator import labels
from tandem.operator.api import ApiError
from tandem.operator.children import Plan, plan_children
from tandem.operator.types import Raw

NAME = "pd-hub-uid-1"


def serving(*containers: str, **env: str) -> Raw:
    template = pod(*containers)
    template["spec"]["containers"][0]["command"] = ["sh", "-c", "dynamo serve components.worker:VllmWorker"]
    if env:
        template["spec"]["containers"][0]["env"] = [{"name": key, "value": value} for key, value in env.items()]
    return template


def sources(template: Raw) -> list[str | None]:
    """The Secret that each container takes a token from."""
    found = [
        [each for each in container["env"] if each["name"] == "TANDEM_GROUP_TOKEN"]
        for container in template["spec"]["containers"]
    ]
    return [each[0]["valueFrom"]["secretKeyRef"]["name"] if each else None for each in found]


def template_of(plan: Plan, name: str, kind: str = "StatefulSet") -> Raw:
    found: Raw = wish(plan, kind, name)["spec"]["template"]
    return found


SERVES = role("processor", template=serving("main", "side"))


def test_a_new_group_that_serves_gets_a_secret_of_its_own_and_every_container_takes_it() -> None:
    plan = plan_children(group(SERVES, role("web", workload=DEPLOYMENT), role("ranks", workload=LWS)), seen())
    assert plan.secret is not None
    assert plan.secret["name"] == NAME
    assert [owner["uid"] for owner in plan.secret["ownerReferences"]] == ["uid-1"]
    assert sources(template_of(plan, "pd-processor")) == [NAME, NAME]
    assert sources(template_of(plan, "pd-web", "Deployment")) == [NAME]
    inner = wish(plan, "LeaderWorkerSet", "pd-ranks")["spec"]["leaderWorkerTemplate"]
    assert sources(inner["leaderTemplate"]) == sources(inner["workerTemplate"]) == [NAME]


def test_groups_of_other_programs_get_none() -> None:
    plan = plan_children(group(role("a"), role("b")), seen())
    assert plan.secret is None
    assert sources(template_of(plan, "pd-a")) == [None]


def test_a_group_whose_author_gives_out_a_token_gets_none_of_ours() -> None:
    own = serving(TANDEM_GROUP_TOKEN="mine")
    plan = plan_children(group(SERVES, role("b", template=own)), seen())
    assert plan.secret is None
    assert sources(template_of(plan, "pd-processor")) == [None, None]
    [variable] = [e for e in template_of(plan, "pd-b")["spec"]["containers"][0]["env"] if e["name"][:6] == "TANDEM"]
    assert variable["value"] == "mine"


def without_token(made: list[Raw]) -> list[Raw]:
    """Workloads as an operator before tokens made them."""
    for item in made:
        for container in (item["spec"]["template"]["spec"]["containers"]) if item["kind"] == "StatefulSet" else []:
            container["env"] = [each for each in container["env"] if each["name"] != "TANDEM_GROUP_TOKEN"]
    return made


def test_a_group_that_ran_before_there_were_tokens_goes_on_without_also_in_new_roles() -> None:
    made = without_token(settle(group(SERVES)))
    plan = plan_children(group(SERVES, role("more", template=serving()), generation=2), seen(*made))
    assert plan.secret is None
    assert sources(template_of(plan, "pd-more")) == [None]


def test_a_role_that_joins_later_takes_the_token_that_the_others_have() -> None:
    made = settle(group(SERVES))
    plan = plan_children(group(SERVES, role("more", template=serving()), generation=2), seen(*made))
    assert plan.secret is not None
    assert sources(template_of(plan, "pd-more")) == [NAME]


def test_a_group_made_again_over_workloads_that_were_left_keeps_their_secret() -> None:
    made = settle(group(SERVES))
    for item in made:
        item["metadata"].pop("ownerReferences", None)
    again = group(SERVES)
    plan = plan_children(type(again)(**{**_fields(again), "uid": "another-uid"}), seen(*made))
    assert sources(template_of(plan, "pd-processor")) == [NAME, NAME]


def _fields(of: Any) -> dict[str, Any]:
    return {name: getattr(of, name) for name in of.__struct_fields__}


SECRETS = "/api/v1/namespaces/default/secrets"


async def test_the_secret_is_made_once_before_the_workloads_and_its_token_is_told_to_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    api, _, reconciler = world(a_group("g", SERVES))
    bodies = api.posted(SECRETS)
    outcome = await reconciler.reconcile(("default", "g"))
    assert not outcome.failed
    [body] = bodies
    assert body["metadata"]["name"] == "g-hub-uid-g"
    assert len(body["stringData"]["token"]) >= 32
    writes = [path for method, path in api.calls if method in ("PATCH", "POST") and "/events" not in path]
    assert writes[0] == SECRETS
    assert body["stringData"]["token"] not in caplog.text + str(api.kept)
    await reconciler.reconcile(("default", "g"))
    assert len(bodies) == 1
    other_api, _, another = world(a_group("g", SERVES))
    others = other_api.posted(SECRETS)
    await another.reconcile(("default", "g"))
    assert others[0]["stringData"] != body["stringData"], "each has a token of its own"


async def test_a_secret_that_is_there_already_is_left_and_one_that_is_missed_is_made_again() -> None:
    api, cache, reconciler = world(a_group("g", SERVES))
    api.refuse["POST", SECRETS] = ApiError(409, "AlreadyExists", "is there")
    assert not (await reconciler.reconcile(("default", "g"))).failed
    bodies = api.posted(SECRETS)
    await reconciler.reconcile(("default", "g"))
    assert bodies == []
    waiting = {"name": "main", "state": {"waiting": {"reason": "CreateContainerConfigError"}}}
    named = {"name": "g-processor-0", "namespace": "default", "labels": {labels.NAME: "g", labels.ROLE: "processor"}}
    cache.put("Pod", {"metadata": named, "status": {"phase": "Pending", "containerStatuses": [waiting]}})
    del api.refuse["POST", SECRETS]
    await reconciler.reconcile(("default", "g"))
    assert len(bodies) == 1


async def test_a_secret_that_the_server_refuses_is_told_and_tried_again() -> None:
    api, cache, reconciler = world(a_group("g", SERVES))
    api.refuse["POST", SECRETS] = ApiError(403, "Forbidden", "may not create secrets")
    assert (await reconciler.reconcile(("default", "g"))).failed
    found = cache.get("RoleBasedGroup", "default", "g")
    assert found is not None
    [ready] = [each for each in found["status"]["conditions"] if each["type"] == "Ready"]
    assert ready["message"] == "role processor: Secret g-hub-uid-g was refused: may not create secrets"
    del api.refuse["POST", SECRETS]
    assert not (await reconciler.reconcile(("default", "g"))).failed
