"""Each role follows its own figure: by HPA, by KEDA, and by rules that a metrics adapter can read."""

from typing import Any

from tests.deploy.builders import described, objects
from tests.deploy.variants import variants

from tandem.deploy.monitoring import adapter_values

HPA, KEDA = variants()["hpa"], variants()["keda"]


def metrics_of(role: str) -> dict[str, Any]:
    """Metric name → target, as the HPA has it."""
    found: dict[str, Any] = {}
    for metric in objects(HPA)["HorizontalPodAutoscaler", f"qwen-{role}"]["spec"]["metrics"]:
        match metric["type"]:
            case "Pods":
                found[metric["pods"]["metric"]["name"]] = metric["pods"]["target"]["averageValue"]
            case "External":
                found[metric["external"]["metric"]["name"]] = metric["external"]["target"]["value"]
            case "Resource":
                found[metric["resource"]["name"]] = metric["resource"]["target"]["averageUtilization"]
    return found


def test_prefill_follows_its_queue_and_decode_its_cache() -> None:
    plain = {"num_requests_waiting": "4", "gpu_utilization": "80", "cpu": 70, "memory": 80}
    assert metrics_of("prefill") == plain | {"tandem_prefill_queue_seconds_p90": "500m"}
    assert metrics_of("decoder") == plain | {"kv_cache_usage_perc": "800m"}
    assert metrics_of("processor") == {"cpu": 70}


def test_the_scaler_turns_the_roles_own_adapter_which_the_group_asks_for() -> None:
    for wish, kind in ((HPA, "HorizontalPodAutoscaler"), (KEDA, "ScaledObject")):
        found = objects(wish)
        roles = {role["name"]: role for role in found["RoleBasedGroup", "qwen"]["spec"]["roles"]}
        for role in ("processor", "prefill", "decoder"):
            target = found[kind, f"qwen-{role}"]["spec"]["scaleTargetRef"]
            assert (target["kind"], target["name"]) == ("RoleBasedGroupScalingAdapter", f"qwen-{role}")
            assert roles[role]["scalingAdapter"] == {"enable": True}
    assert all("scalingAdapter" not in role for role in objects(described())["RoleBasedGroup", "qwen"]["spec"]["roles"])


def test_keda_asks_prometheus_for_this_service_only() -> None:
    triggers = objects(KEDA)["ScaledObject", "qwen-decoder"]["spec"]["triggers"]
    queries = [each["metadata"]["query"] for each in triggers if each["type"] == "prometheus"]
    assert len(queries) == 3
    for query in queries:
        assert 'namespace="default"' in query
        assert "decoder" in query
        assert "MATCHERS" not in query
    [kv] = [each for each in triggers if "kv_cache" in each["metadata"].get("query", "")]
    assert (kv["metricType"], kv["metadata"]["threshold"]) == ("Value", "0.8")
    [waiting] = [each for each in triggers if "waiting" in each["metadata"].get("query", "")]
    assert waiting["metricType"] == "AverageValue", "a sum is shared out among the pods"
    assert {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "70"}} in triggers


def test_every_metric_of_an_hpa_has_a_rule_that_makes_it() -> None:
    rules = adapter_values(HPA)["rules"]
    named = {rule["name"]["as"] for rule in [*rules["custom"], *rules["external"]]}
    asked = {name for role in ("prefill", "decoder") for name in metrics_of(role)} - {"cpu", "memory"}
    assert asked == named


def test_the_clouds_adapter_reads_the_same_rules_in_its_own_place() -> None:
    address = "https://cn-beijing.arms.aliyuncs.com:9443/api/v1/prometheus/x"
    wish = described(metrics={"adapter": "alibaba", "prometheus": address})
    theirs = adapter_values(wish)["AlibabaCloudMetricsAdapter"]["prometheus"]
    assert theirs["url"] == address
    ours = adapter_values(described(metrics={}))["rules"]
    assert theirs["adapter"]["rules"] == {key: ours[key] for key in ("custom", "external")}


def test_prometheus_finds_the_pods_and_alone_reaches_their_figures() -> None:
    found = objects(described(metrics={"namespace": "prom", "labels": {"release": "p"}}))
    monitor = found["PodMonitor", "qwen"]
    assert monitor["metadata"]["labels"]["release"] == "p"
    assert monitor["spec"]["podMetricsEndpoints"] == [{"port": "metrics", "path": "/metrics", "interval": "15s"}]
    rules = found["NetworkPolicy", "qwen-serving"]["spec"]["ingress"]
    [outside] = [rule for rule in rules if "ports" in rule]
    assert outside["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "prom"}}}]
    assert outside["ports"] == [{"protocol": "TCP", "port": 9347}]
