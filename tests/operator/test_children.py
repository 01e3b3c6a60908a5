"""A group and what is there → the objects that should be there. The guide's group is the first row."""

import yaml
from tests.operator.builders import (
    DEPLOYMENT,
    GUIDE,
    LWS,
    group,
    names,
    observed,
    owned,
    pod,
    role,
    seen,
    settle,
    someone_elses,
    wish,
)

from tandem.operator import labels
from tandem.operator.children import Plan, plan_children
from tandem.operator.compare import must_apply
from tandem.operator.types import Group, Raw


class TestTheGuide:
    plan = plan_children(group(*GUIDE, name="dynamo-pd"), seen())

    def test_makes_a_config_map_a_service_and_a_stateful_set_for_each_role(self) -> None:
        roles = ("processor", "prefill", "decoder")
        assert names(self.plan) == [
            *(("ConfigMap", f"dynamo-pd-{name}") for name in roles),
            *(
                (kind, f"{head}dynamo-pd-{name}")
                for name in roles
                for kind, head in (("Service", "s-"), ("StatefulSet", ""))
            ),
        ]

    def test_stateful_set(self) -> None:
        made = wish(self.plan, "StatefulSet", "dynamo-pd-prefill")["spec"]
        assert (made["replicas"], made["podManagementPolicy"], made["serviceName"]) == (
            2,
            "Parallel",
            "s-dynamo-pd-prefill",
        )
        assert made["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
        assert set(made["selector"]["matchLabels"]) == {labels.NAME, labels.ROLE, labels.GROUP_KEY}
        assert made["selector"]["matchLabels"].items() <= made["template"]["metadata"]["labels"].items()

    def test_pods_carry_both_families_of_labels(self) -> None:
        found = wish(self.plan, "StatefulSet", "dynamo-pd-processor")["spec"]["template"]["metadata"]["labels"]
        assert found[labels.NAME] == found[labels.NEW_NAME] == "dynamo-pd"
        assert found[labels.ROLE] == found[labels.NEW_ROLE] == "processor"
        assert found[labels.GROUP_KEY] == found[labels.NEW_GROUP_KEY]
        assert len(found[labels.GROUP_KEY]) == 40

    def test_the_group_owns_all_of_it_and_nothing_has_a_finalizer(self) -> None:
        for item in self.plan.apply:
            assert [(o["name"], o["controller"]) for o in item["metadata"]["ownerReferences"]] == [("dynamo-pd", True)]
            assert "finalizers" not in item["metadata"]

    def test_discovery_file(self) -> None:
        made = wish(self.plan, "ConfigMap", "dynamo-pd-decoder")
        assert yaml.safe_load(made["data"]["config.yaml"]) == {
            "group": {"name": "dynamo-pd", "roles": ["processor", "prefill", "decoder"], "size": 3},
            "roles": {
                "processor": {"instances": [{"address": "dynamo-pd-processor-0.s-dynamo-pd-processor"}], "size": 1},
                "prefill": {
                    "instances": [{"address": f"dynamo-pd-prefill-{i}.s-dynamo-pd-prefill"} for i in (0, 1)],
                    "size": 2,
                },
                "decoder": {"instances": [{"address": "dynamo-pd-decoder-0.s-dynamo-pd-decoder"}], "size": 1},
            },
        }

    def test_service(self) -> None:
        made = wish(self.plan, "Service", "s-dynamo-pd-prefill")["spec"]
        assert made == {
            "type": "ClusterIP",
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {labels.NAME: "dynamo-pd", labels.ROLE: "prefill"},
        }

    def test_first_revision(self) -> None:
        [made] = [item for item in self.plan.apply if item["kind"] == "ControllerRevision"]
        assert made["revision"] == 1
        assert [r["name"] for r in made["data"]["spec"]["roles"]] == ["processor", "prefill", "decoder"]
        assert all("replicas" not in r for r in made["data"]["spec"]["roles"])


def test_nothing_is_written_when_all_is_there() -> None:
    by = group(*GUIDE)
    made = {(item["kind"], item["metadata"]["name"]): item for item in settle(by)}
    plan = plan_children(by, seen(*made.values()))
    assert [i for i in plan.apply if must_apply(i, made.get((i["kind"], i["metadata"]["name"])), None)] == []
    assert plan.delete == []
    assert all(view.why_not_ready() is None for view in plan.views)


def test_scaling_one_role_touches_its_workload_and_the_discovery_files_only() -> None:
    made = {(item["kind"], item["metadata"]["name"]): item for item in settle(group(*GUIDE))}
    grown = [GUIDE[0], role("prefill", replicas=3, template=pod("prefill-worker")), GUIDE[2]]
    plan = plan_children(group(*grown, generation=2), seen(*made.values()))
    changed = [i for i in plan.apply if must_apply(i, made.get((i["kind"], i["metadata"]["name"])), None)]
    assert names(Plan(apply=changed)) == [
        ("ConfigMap", "pd-processor"),
        ("ConfigMap", "pd-prefill"),
        ("ConfigMap", "pd-decoder"),
        ("Service", "s-pd-prefill"),
        ("StatefulSet", "pd-prefill"),
    ]
    assert not any(item["kind"] == "ControllerRevision" for item in plan.apply)
    template = made[("StatefulSet", "pd-prefill")]["spec"]["template"]
    assert wish(plan, "StatefulSet", "pd-prefill")["spec"]["template"] == template


def test_changing_one_roles_template_touches_only_that_workload() -> None:
    made = {(item["kind"], item["metadata"]["name"]): item for item in settle(group(*GUIDE))}
    edited = [GUIDE[0], role("prefill", replicas=2, template=pod("other")), GUIDE[2]]
    plan = plan_children(group(*edited, generation=2), seen(*made.values()))
    changed = [i for i in plan.apply if must_apply(i, made.get((i["kind"], i["metadata"]["name"])), None)]
    assert names(Plan(apply=changed)) == [("StatefulSet", "pd-prefill")]
    assert [i["revision"] for i in changed if i["kind"] == "ControllerRevision"] == [2]


class TestDependencies:
    chain = (role("a"), role("b", dependencies=["a"]), role("c", dependencies=["b"]), role("free"))

    def test_only_roles_whose_own_dependencies_are_ready_are_started(self) -> None:
        plan = plan_children(group(*self.chain), seen())
        assert [name for kind, name in names(plan) if kind == "StatefulSet"] == ["pd-a", "pd-free"]
        assert [view.why_not_ready() for view in plan.views][1:3] == ["role b: waiting for a", "role c: waiting for b"]

    def test_the_next_one_starts_when_its_dependency_is_ready(self) -> None:
        first = plan_children(group(*self.chain), seen())
        there = [observed(wish(first, "StatefulSet", "pd-a"))]
        plan = plan_children(group(*self.chain), seen(*there))
        assert [name for kind, name in names(plan) if kind == "StatefulSet"] == ["pd-a", "pd-b", "pd-free"]

    def test_a_status_older_than_the_spec_is_not_ready(self) -> None:
        first = plan_children(group(*self.chain), seen())
        stale = observed(wish(first, "StatefulSet", "pd-a"), observedGeneration=0)
        assert ("StatefulSet", "pd-b") not in names(plan_children(group(*self.chain), seen(stale)))

    def test_a_fresh_leader_worker_set_is_not_ready_although_zero_equals_zero(self) -> None:
        roles = (role("a", workload=LWS), role("b", dependencies=["a"]))
        made = wish(plan_children(group(*roles), seen()), "LeaderWorkerSet", "pd-a")
        fresh = {**made, "metadata": {**made["metadata"], "generation": 1}, "status": {}}
        assert ("StatefulSet", "pd-b") not in names(plan_children(group(*roles), seen(fresh)))

    def test_what_runs_is_kept_when_a_dependency_is_lost(self) -> None:
        made = settle(group(*self.chain))
        lost = [
            observed(i, ready=0) if i["metadata"]["name"] == "pd-a" and i["kind"] == "StatefulSet" else i for i in made
        ]
        plan = plan_children(group(*self.chain), seen(*lost))
        assert plan.delete == []
        assert ("StatefulSet", "pd-b") in names(plan)


class TestOthers:
    def test_a_foreign_namesake_is_left_alone_and_named(self) -> None:
        plan = plan_children(group(role("a")), seen(someone_elses("Service", "s-pd-a")))
        assert names(plan) == [("ConfigMap", "pd-a")]
        assert plan.views[0].problem == "Service s-pd-a exists and is not this group's: delete or rename it"

    def test_so_is_one_of_a_discovery_file_or_a_pod_group_before_pods_need_them(self) -> None:
        """Pods that mount somebody else's ConfigMap would wait for ever, and nobody would say why."""
        by = group(role("a"), role("b"), podGroupPolicy={"kubeScheduling": {}})
        plan = plan_children(by, seen(someone_elses("ConfigMap", "pd-a")))
        assert [view.problem for view in plan.views] == [
            "ConfigMap pd-a exists and is not this group's: delete or rename it",
            None,
        ]
        assert [name for kind, name in names(plan) if kind == "StatefulSet"] == ["pd-b"]
        plan = plan_children(by, seen(someone_elses("PodGroup", "pd")))
        found = "PodGroup pd exists and is not this group's: delete or rename it"
        assert [view.problem for view in plan.views] == [found, found]
        assert not [name for kind, name in names(plan) if kind == "StatefulSet"]

    def test_a_child_of_a_former_group_of_the_name_is_waited_for(self) -> None:
        old = owned("StatefulSet", "pd-a", group())
        old["metadata"]["ownerReferences"][0]["uid"] = "another"
        plan = plan_children(group(role("a")), seen(old))
        assert (
            plan.views[0].problem
            == "StatefulSet pd-a belongs to a deleted group of this name; waiting until it is gone"
        )

    def test_children_of_a_role_that_is_gone_are_deleted(self) -> None:
        made = settle(group(role("a"), role("b", scalingAdapter={"enable": True})))
        plan = plan_children(group(role("a"), generation=2), seen(*made))
        assert sorted((i["kind"], i["metadata"]["name"]) for i in plan.delete) == [
            ("ConfigMap", "pd-b"),
            ("RoleBasedGroupScalingAdapter", "pd-b"),
            ("Service", "s-pd-b"),
            ("StatefulSet", "pd-b"),
        ]

    def test_a_changed_kind_replaces_the_workload(self) -> None:
        made = settle(group(role("a")))
        plan = plan_children(group(role("a", workload=DEPLOYMENT), generation=2), seen(*made))
        assert ("Deployment", "pd-a") in names(plan)
        assert [(i["kind"], i["metadata"]["name"]) for i in plan.delete] == [
            ("Service", "s-pd-a"),
            ("StatefulSet", "pd-a"),
        ]

    def test_an_invalid_group_changes_nothing(self) -> None:
        made = settle(group(role("a")))
        plan = plan_children(group(role("a", dependencies=["x"]), generation=2), seen(*made))
        assert plan.faults
        assert plan.apply == plan.delete == []


class TestAdoption:
    """Workloads that the upstream operator made are taken over without a new pod."""

    def upstream(self, by: Group, **selector: str) -> Raw:
        chosen = selector or {labels.NAME: by.name, labels.ROLE: "a"}
        item = owned("StatefulSet", "pd-a", by)
        del item["metadata"]["annotations"]
        template = {"metadata": {"labels": chosen}, "spec": {"containers": [{"name": "main", "image": "busybox"}]}}
        item["spec"] = {"selector": {"matchLabels": chosen}, "serviceName": "pd-a", "template": template}
        return observed(item)

    def test_template_selector_and_service_name_stay(self) -> None:
        by = group(role("a"))
        plan = plan_children(by, seen(self.upstream(by)))
        made = wish(plan, "StatefulSet", "pd-a")
        assert "template" not in made["spec"]
        assert made["spec"]["selector"]["matchLabels"] == {labels.NAME: "pd", labels.ROLE: "a"}
        assert made["spec"]["serviceName"] == "pd-a"
        assert ("Service", "pd-a") in names(plan)
        assert "pd-a-0.pd-a" in plan.apply[0]["data"]["config.yaml"]

    def test_pods_roll_only_when_somebody_changes_the_role(self) -> None:
        by = group(role("a"))
        adopted = observed(wish(plan_children(by, seen(self.upstream(by))), "StatefulSet", "pd-a"))
        adopted["spec"] = {**self.upstream(by)["spec"], **adopted["spec"]}
        assert "template" not in wish(plan_children(by, seen(adopted)), "StatefulSet", "pd-a")["spec"]
        edited = plan_children(group(role("a", template=pod("new")), generation=2), seen(adopted))
        assert wish(edited, "StatefulSet", "pd-a")["spec"]["template"]["spec"]["containers"][0]["name"] == "new"

    def test_pods_with_the_new_labels_only_keep_their_service_and_their_config_map(self) -> None:
        by = group(role("a"))
        made = self.upstream(by, **{labels.NEW_NAME: "pd", labels.NEW_ROLE: "a"})
        made["spec"]["template"]["spec"]["volumes"] = [{"name": "rbg-cluster-config", "configMap": {"name": "pd"}}]
        plan = plan_children(by, seen(made))
        assert wish(plan, "Service", "pd-a")["spec"]["selector"] == {labels.NEW_NAME: "pd", labels.NEW_ROLE: "a"}
        assert ("ConfigMap", "pd") in names(plan)
