"""What a role's pods are given: env, labels, the discovery file, placement, gang marks, profiles."""

from typing import Any

import pytest
from tests.operator.builders import GUIDE, LWS, group, names, pod, role, seen, settle, wish

from tandem.operator import labels
from tandem.operator.children import plan_children
from tandem.operator.types import Raw

UNLESS_THERE_IS_NONE = "command -v tandem >/dev/null || exit 0; exec tandem ready"


class TestPods:
    def template(self, **fields: Any) -> Raw:
        extra = fields.pop("group", {})
        found: Raw = wish(plan_children(group(role("a", **fields), **extra), seen()), "StatefulSet", "pd-a")["spec"][
            "template"
        ]
        return found

    def test_our_env_stands_before_the_users_so_that_references_work(self) -> None:
        template = pod()
        template["spec"]["containers"][0]["env"] = [
            {"name": "X", "value": "$(ROLE_INDEX)"},
            {"name": "ROLE_NAME", "value": "mine"},
        ]
        env = self.template(template=template)["spec"]["containers"][0]["env"]
        assert [item["name"] for item in env] == [
            "GROUP_NAME",
            "ROLE_NAME",
            "ROLE_INDEX",
            "RBG_GROUP_NAME",
            "RBG_ROLE_NAME",
            "RBG_ROLE_INDEX",
            "X",
        ]
        assert env[1]["value"] == "a"

    def test_the_users_labels_annotations_and_volumes_survive(self) -> None:
        template = pod(volumes=[{"name": "v", "emptyDir": {}}])
        template["metadata"] = {"labels": {"mine": "1"}, "annotations": {"note": "2"}}
        made = self.template(template=template)
        assert made["metadata"]["labels"]["mine"] == "1"
        assert made["metadata"]["annotations"] == {"note": "2"}
        assert [v["name"] for v in made["spec"]["volumes"]] == ["v", "rbg-cluster-config"]

    def test_the_discovery_file_is_mounted_in_containers_and_not_in_init_containers(self) -> None:
        made = self.template(template=pod("x", "y", initContainers=[{"name": "i"}]))["spec"]
        mount = {"name": "rbg-cluster-config", "mountPath": "/etc/rbg", "readOnly": True}
        assert [c["volumeMounts"] for c in made["containers"]] == [[mount], [mount]]
        assert "volumeMounts" not in made["initContainers"][0]

    @pytest.mark.parametrize(
        ("words", "program"),
        [
            ({"command": ["sh", "-c", "cd /workspace/examples/llm; dynamo serve components.worker:VllmWorker"]}, "sh"),
            ({"command": ["/bin/bash", "-c", "tandem serve graph:Frontend"]}, "/bin/bash"),
            ({"command": ["dynamo", "serve", "graph:Frontend"]}, "sh"),
            ({"args": ["tini", "--", "tandem", "serve", "graph:Frontend"]}, "sh"),
            ({"command": ["tandem"], "args": ["serve", "graph:Frontend"]}, "tandem"),
            ({"command": ["/opt/venv/bin/tandem", "serve", "graph:Frontend"]}, "/opt/venv/bin/tandem"),
            ({"command": ["python", "-m", "dynamo.vllm"]}, None),
            ({}, None),
        ],
    )
    def test_a_container_that_serves_is_ready_when_it_could_answer(self, words: Raw, program: str | None) -> None:
        """A shell is needed only to find out whether an image has `tandem`: not where it is what the container runs."""
        template = pod()
        template["spec"]["containers"][0] |= words
        [made] = self.template(template=template)["spec"]["containers"]
        asks = ["ready"] if program and program.endswith("tandem") else ["-c", UNLESS_THERE_IS_NONE]
        assert made.get("readinessProbe", {}).get("exec") == ({"command": [program, *asks]} if program else None)
        template["metadata"] = {"annotations": {labels.READINESS_PROBE: "off"}}
        assert "readinessProbe" not in self.template(template=template)["spec"]["containers"][0]

    @pytest.mark.parametrize(
        "of_the_group",
        [
            {},
            {"annotations": {labels.EXCLUSIVE_TOPOLOGY[0]: "rack"}},
            {"podGroupPolicy": {"volcanoScheduling": {}}},
        ],
    )
    def test_annotations_that_are_written_and_empty_are_none(self, of_the_group: Raw) -> None:
        template = pod()
        template["metadata"] = {"annotations": None, "labels": None}
        template["spec"]["containers"][0]["command"] = ["dynamo", "serve", "x"]
        made = self.template(template=template, group=of_the_group)
        assert "readinessProbe" in made["spec"]["containers"][0]
        assert made["metadata"].get("annotations", {}) is not None

    def test_a_probe_of_its_own_stays(self) -> None:
        template = pod()
        own = {"tcpSocket": {"port": 8000}}
        template["spec"]["containers"][0] |= {"command": ["dynamo", "serve", "x"], "readinessProbe": own}
        assert self.template(template=template)["spec"]["containers"][0]["readinessProbe"] == own

    def test_role_labels_go_on_the_workload_only(self) -> None:
        plan = plan_children(group(role("a", labels={"l": "1"}, annotations={"n": "2"})), seen())
        made = wish(plan, "StatefulSet", "pd-a")
        assert made["metadata"]["labels"]["l"] == "1"
        assert made["metadata"]["annotations"]["n"] == "2"
        assert made["metadata"]["annotations"][labels.ROLE_SIZE] == "1"
        assert "l" not in made["spec"]["template"]["metadata"]["labels"]

    @pytest.mark.parametrize("key", labels.EXCLUSIVE_TOPOLOGY)
    def test_exclusive_topology_in_either_familys_words(self, key: str) -> None:
        made = self.template(group={"annotations": {key: "rack"}})
        required = "requiredDuringSchedulingIgnoredDuringExecution"
        affinity = made["spec"]["affinity"]
        unique = made["metadata"]["labels"][labels.GROUP_KEY]
        [near], [far] = affinity["podAffinity"][required], affinity["podAntiAffinity"][required]
        assert near["topologyKey"] == far["topologyKey"] == "rack"
        assert near["labelSelector"]["matchExpressions"] == [
            {"key": labels.GROUP_KEY, "operator": "In", "values": [unique]}
        ]
        assert [e["operator"] for e in far["labelSelector"]["matchExpressions"]] == ["Exists", "NotIn"]

    def test_a_role_may_stay_out_of_exclusive_topology(self) -> None:
        template = pod()
        template["metadata"] = {"annotations": {labels.DISABLE_EXCLUSIVE[0]: "true"}}
        made = self.template(template=template, group={"annotations": {labels.EXCLUSIVE_TOPOLOGY[0]: "rack"}})
        assert "affinity" not in made["spec"]


class TestGang:
    def test_scheduler_plugins(self) -> None:
        by = group(*GUIDE, podGroupPolicy={"kubeScheduling": {"scheduleTimeoutSeconds": 30}})
        plan = plan_children(by, seen())
        made = wish(plan, "PodGroup", "pd")
        assert (made["apiVersion"], made["spec"]) == (
            "scheduling.x-k8s.io/v1alpha1",
            {"minMember": 4, "scheduleTimeoutSeconds": 30},
        )
        template = wish(plan, "StatefulSet", "pd-prefill")["spec"]["template"]
        assert template["metadata"]["labels"][labels.KUBE_GANG] == "pd"
        order = [kind for kind, _ in names(plan)]
        assert order.index("PodGroup") < order.index("StatefulSet")

    def test_volcano_with_a_minimum_for_one_role(self) -> None:
        policy = {"volcanoScheduling": {"queue": "q"}, "roleMinimums": {"prefill": 1}}
        plan = plan_children(group(*GUIDE, podGroupPolicy=policy), seen())
        made = wish(plan, "PodGroup", "pd")
        tasks = {"processor": 1, "prefill": 1, "decoder": 1}
        assert made["spec"] == {"minMember": 3, "queue": "q", "minTaskMember": tasks}
        template = wish(plan, "StatefulSet", "pd-prefill")["spec"]["template"]["metadata"]
        assert template["annotations"] == {labels.VOLCANO_GANG: "pd", labels.VOLCANO_TASK: "prefill"}

    def test_leader_worker_sets_count_all_their_pods(self) -> None:
        by = group(role("w", replicas=2, workload=LWS, leaderWorkerSet={"size": 3}), annotations={labels.GANG: "true"})
        assert wish(plan_children(by, seen()), "PodGroup", "pd")["spec"]["minMember"] == 6

    def test_without_the_policy_the_pod_group_goes(self) -> None:
        made = settle(group(role("a"), podGroupPolicy={"kubeScheduling": {}}))
        plan = plan_children(group(role("a"), generation=2), seen(*made))
        assert [(i["kind"], i["metadata"]["name"]) for i in plan.delete] == [("PodGroup", "pd")]


class TestRuntimes:
    profile: Raw = {
        "p": {
            "initContainers": [{"name": "init"}],
            "containers": [{"name": "sidecar", "args": ["a"], "env": [{"name": "X", "value": "1"}]}, {"name": "more"}],
            "volumes": [{"name": "shared", "emptyDir": {}}],
        }
    }

    def pod_of(self, runtime: Raw) -> Raw:
        plan = plan_children(group(role("a", engineRuntimes=[runtime])), seen(profiles=self.profile))
        found: Raw = wish(plan, "StatefulSet", "pd-a")["spec"]["template"]["spec"]
        return found

    def test_containers_volumes_and_init_containers_join_with_our_env(self) -> None:
        made = self.pod_of({"profileName": "p"})
        assert [c["name"] for c in made["containers"]] == ["main", "sidecar", "more"]
        assert made["containers"][1]["env"][0]["name"] == "GROUP_NAME"
        assert made["containers"][1]["volumeMounts"][0]["mountPath"] == "/etc/rbg"
        assert [c["name"] for c in made["initContainers"]] == ["init"]
        assert [v["name"] for v in made["volumes"]] == ["shared", "rbg-cluster-config"]

    def test_env_and_args_are_appended_and_containers_can_be_chosen(self) -> None:
        change = {"name": "sidecar", "args": ["b"], "env": [{"name": "Y", "value": "2"}], "command": ["ignored"]}
        made = self.pod_of({"profileName": "p", "injectContainers": ["sidecar"], "containers": [change]})
        assert [c["name"] for c in made["containers"]] == ["main", "sidecar"]
        sidecar = made["containers"][1]
        assert sidecar["args"] == ["a", "b"]
        assert [e["name"] for e in sidecar["env"]][-2:] == ["X", "Y"]
        assert "command" not in sidecar

    def test_a_missing_profile_is_the_roles_problem(self) -> None:
        plan = plan_children(group(role("a", engineRuntimes=[{"profileName": "x"}]), role("b")), seen())
        assert plan.views[0].problem == (
            "spec.roles[0].engineRuntimes[0].profileName: "
            "ClusterEngineRuntimeProfile 'x' does not exist; create it first"
        )
        assert ("StatefulSet", "pd-b") in names(plan)

    def test_only_the_leader_gets_the_sidecar(self) -> None:
        by = group(role("w", workload=LWS, leaderWorkerSet={"size": 2}, engineRuntimes=[{"profileName": "p"}]))
        inner = wish(plan_children(by, seen(profiles=self.profile)), "LeaderWorkerSet", "pd-w")["spec"][
            "leaderWorkerTemplate"
        ]
        assert len(inner["leaderTemplate"]["spec"]["containers"]) == 3
        assert len(inner["workerTemplate"]["spec"]["containers"]) == 1
