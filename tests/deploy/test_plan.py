"""What an apply would do, and what becomes of Secrets: rules over plain objects."""

from typing import Any

from tests.deploy.builders import described

from tandem.deploy.nats import needed_secrets
from tandem.deploy.objects import NeededSecret, Object
from tandem.deploy.plan import bare, change_of, immovable, sendable, settled, summary
from tandem.deploy.secrets import Decision, decide

WISH = described()
OSS = NeededSecret(name="oss-secret", keys=("akId", "akSecret"), environment=("OSS_ID", "OSS_KEY"), why="the bucket")


def item(**spec: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec}


def live(manager: str, **spec: Any) -> Object:
    noise = {"uid": "u", "resourceVersion": "7", "managedFields": [{"manager": manager}]}
    return {**item(**spec), "metadata": {"name": "s", **noise}, "status": {"x": 1}}


def decided(need: NeededSecret, found: Object | None = None, **environ: str) -> Decision:
    return decide(need, found, WISH, environ, lambda count: "ab" * count)


def test_an_object_is_created_changed_kept_or_somebody_elses() -> None:
    after = live("tandem-deploy", a=1)
    assert change_of(item(a=1), None, after).verb == "create"
    assert change_of(item(a=1), live("tandem-deploy", a=1), after).verb == "keep"
    changed = change_of(item(a=1), live("tandem-deploy", a=2), after)
    assert changed.verb == "change"
    assert [line for line in changed.diff if line[0] in "+-" and line[1] == " "] == ["-  a: 2", "+  a: 1"]
    foreign = change_of(item(a=1), live("kubectl", a=1), after)
    assert foreign.verb == "take over"
    assert summary([changed, foreign]) == [
        "~ change    Service s",
        "! take over Service s",
        "1 to change, 1 to take over",
    ]


def test_what_only_the_server_writes_is_no_difference_and_secrets_are_not_shown() -> None:
    assert bare(live("x", b=1, a=2)) == bare(live("y", a=2, b=1))
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"password": "aGk="}}
    assert "aGk=" not in str(bare(secret))


def test_replicas_of_a_scaled_role_are_the_autoscalers() -> None:
    scaled = {"name": "prefill", "replicas": 2, "scalingAdapter": {"enable": True}}
    fixed = {"name": "decoder", "replicas": 1}
    wish = {"kind": "RoleBasedGroup", "metadata": {}, "spec": {"roles": [scaled, fixed]}}
    seen = {"spec": {"roles": [{**scaled, "replicas": 5}, {**fixed, "replicas": 4}]}}
    counts = [role["replicas"] for role in settled(wish, seen)["spec"]["roles"]]
    assert counts == [5, 1]
    assert settled(wish, None) == wish


def test_the_number_of_etcd_members_is_not_changed_by_an_apply() -> None:
    etcd: Object = {"kind": "StatefulSet", "metadata": {"labels": {"app.kubernetes.io/component": "etcd"}}}
    ours: Object = {**etcd, "metadata": {**etcd["metadata"], "managedFields": [{"manager": "tandem-deploy"}]}}
    five, three = {"spec": {"replicas": 5}}, {"spec": {"replicas": 3}}
    assert immovable(etcd | five, ours | three).startswith("planes.etcd.members is 5, 3 run")
    assert immovable(etcd | three, ours | three) == ""
    assert immovable(etcd | five, None) == ""


def test_ports_get_their_protocol_before_they_are_sent() -> None:
    sent = sendable(item(ports=[{"port": 1, "targetPort": 1}, {"port": 2, "targetPort": 2, "protocol": "UDP"}]))
    assert [port["protocol"] for port in sent["spec"]["ports"]] == ["TCP", "UDP"]


def test_a_secret_that_is_there_is_used_as_it_is() -> None:
    assert decided(OSS, {"data": {"akId": "x", "akSecret": "y"}}) == Decision(name="oss-secret", about="there")
    lacking = decided(OSS, {"data": {"akId": "x"}})
    assert lacking.fault == "the Secret oss-secret (the bucket) has no key akSecret; it needs akId, akSecret"


def test_a_missing_secret_comes_from_the_environment_or_is_asked_for() -> None:
    made = decided(OSS, OSS_ID="id", OSS_KEY="key").make
    assert made is not None
    assert made["data"] == {"akId": "aWQ=", "akSecret": "a2V5"}
    assert decided(OSS, OSS_ID="id").fault == "there is no Secret oss-secret (the bucket): make it, or set OSS_KEY"


def test_the_password_of_nats_is_random_and_begins_with_a_letter() -> None:
    [need] = needed_secrets(WISH)
    decision = decided(need)
    assert summary([], [decision]) == ["+ create    Secret qwen-nats, made with a random password", "1 to create"]
    made = decision.make
    assert made is not None
    assert made["metadata"]["name"] == "qwen-nats"
    assert set(made["data"]) == {"username", "password"}
    [theirs] = needed_secrets(described(planes={"nats": {"secret": "mine"}}))
    assert (
        decided(theirs).fault == "there is no Secret mine (user and password of NATS): make it with username, password"
    )
