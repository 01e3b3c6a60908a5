"""Which workload a role becomes."""

import yaml
from tests.operator.builders import DEPLOYMENT, LWS, group, names, pod, role, seen, wish

from tandem.operator import labels
from tandem.operator.children import plan_children
from tandem.operator.seen import Seen


class TestKinds:
    def test_deployment_has_no_headless_service_and_no_index(self) -> None:
        plan = plan_children(group(role("web", workload=DEPLOYMENT)), seen())
        assert names(plan) == [("ConfigMap", "pd-web"), ("Deployment", "pd-web")]
        env = wish(plan, "Deployment", "pd-web")["spec"]["template"]["spec"]["containers"][0]["env"]
        assert not any("INDEX" in item["name"] for item in env)
        assert yaml.safe_load(plan.apply[0]["data"]["config.yaml"])["roles"]["web"] == {"instances": [], "size": 1}

    def test_deployment_with_ports_is_found_through_a_usual_service(self) -> None:
        ports = [{"name": "http-api", "port": 80}]
        plan = plan_children(group(role("web", workload=DEPLOYMENT, servicePorts=ports)), seen())
        made = wish(plan, "Service", "s-pd-web")["spec"]
        assert made["ports"] == [{"protocol": "TCP", "name": "http-api", "port": 80}]
        assert "clusterIP" not in made
        found = yaml.safe_load(plan.apply[0]["data"]["config.yaml"])["roles"]["web"]["instances"]
        assert found == [{"address": "s-pd-web", "ports": {"http_api": 80}}]

    def test_leader_worker_set(self) -> None:
        lws = {
            "size": 3,
            "patchLeaderTemplate": {"spec": {"containers": [{"name": "main", "image": "leader"}]}},
            "patchWorkerTemplate": {"spec": {"hostNetwork": True}},
        }
        plan = plan_children(group(role("w", replicas=2, workload=LWS, leaderWorkerSet=lws)), seen())
        assert names(plan) == [("ConfigMap", "pd-w"), ("LeaderWorkerSet", "pd-w")]
        made = wish(plan, "LeaderWorkerSet", "pd-w")["spec"]
        inner = made["leaderWorkerTemplate"]
        assert (made["replicas"], inner["size"], inner["restartPolicy"]) == (2, 3, "RecreateGroupOnPodRestart")
        assert inner["leaderTemplate"]["spec"]["containers"][0]["image"] == "leader"
        assert inner["workerTemplate"]["spec"]["hostNetwork"] is True
        assert inner["workerTemplate"]["spec"]["containers"][0]["image"] == "busybox"
        found = yaml.safe_load(plan.apply[0]["data"]["config.yaml"])["roles"]["w"]["instances"]
        assert found[1] == {"address": "pd-w-1.pd-w", "workers": ["pd-w-1-1.pd-w", "pd-w-1-2.pd-w"]}

    def test_v1alpha2_patterns(self) -> None:
        shared = [{"name": "t", "template": pod("x")}]
        plan = plan_children(
            group(
                role("one", standalonePattern={"templateRef": {"name": "t", "patch": {"spec": {"hostNetwork": True}}}}),
                role("two", leaderWorkerPattern={"size": 2, "template": pod(), "restartPolicy": "None"}),
                role(
                    "web",
                    standalonePattern={"template": pod()},
                    annotations={labels.WORKLOAD_TYPE: "apps/v1/Deployment"},
                ),
                roleTemplates=shared,
            ),
            seen(),
        )
        assert wish(plan, "StatefulSet", "pd-one")["spec"]["template"]["spec"]["hostNetwork"] is True
        assert wish(plan, "LeaderWorkerSet", "pd-two")["spec"]["leaderWorkerTemplate"]["restartPolicy"] == "None"
        assert wish(plan, "Deployment", "pd-web")

    def test_a_missing_kind_stops_its_role_only(self) -> None:
        plan = plan_children(group(role("a"), role("w", workload=LWS)), Seen())
        assert ("StatefulSet", "pd-a") in names(plan)
        assert [view.problem for view in plan.views] == [
            None,
            "LeaderWorkerSet.leaderworkerset.x-k8s.io is not installed in this cluster: install its CRD and controller",
        ]

    def test_min_ready_seconds_only_where_the_server_knows_it(self) -> None:
        by = group(role("a", minReadySeconds=5))
        made = [wish(plan_children(by, seen(minor=minor)), "StatefulSet", "pd-a")["spec"] for minor in (20, 22)]
        assert ["minReadySeconds" in spec for spec in made] == [False, True]
