"""Where the pods of a RoleBasedGroup meet, by the file that the operator mounts."""

import asyncio
from pathlib import Path

import pytest
import yaml
from tests.operator.builders import DEPLOYMENT, LWS, group, role, seen, wish

from tandem.graph.group import GroupSeat, MeetingPlace, NoPlaceYet, meeting_place, read_place
from tandem.graph.planes import is_far, mixed_notice, runtime_planes, store_host
from tandem.operator.children import plan_children
from tandem.settings import PlaneSettings

PROCESSOR = "dynamo-pd-processor-0"


def told(*roles: dict[str, object]) -> object:
    """The file that our operator writes for a group of these roles."""
    found = group(*roles, name="dynamo-pd")
    text = wish(plan_children(found, seen()), "ConfigMap", f"dynamo-pd-{roles[0]['name']}")["data"]["config.yaml"]
    return yaml.safe_load(text)


def test_the_first_pod_of_the_first_role_hosts_and_the_others_join_it() -> None:
    document = told(role("processor"), role("prefill", replicas=2), role("decoder"))
    address = f"{PROCESSOR}.s-dynamo-pd-processor"
    assert meeting_place(document, PROCESSOR) == MeetingPlace(address, ours=True)
    assert meeting_place(document, "dynamo-pd-prefill-0") == MeetingPlace(address, ours=False)


def test_scaling_other_roles_moves_it_for_nobody() -> None:
    before = meeting_place(told(role("processor"), role("prefill", replicas=2)), "x")
    assert meeting_place(told(role("processor", replicas=3), role("prefill", replicas=0)), "x") == before


def test_a_role_whose_pods_have_no_names_is_passed_over() -> None:
    web = role("web", workload=DEPLOYMENT, servicePorts=[{"port": 80}])
    document = told(web, role("ranks", workload=LWS, leaderWorkerSet={"size": 2}))
    assert meeting_place(document, "dynamo-pd-ranks-0") == MeetingPlace("dynamo-pd-ranks-0.dynamo-pd-ranks", ours=True)
    assert meeting_place(told(web), "x") is None


def test_nobody_else_steps_in_for_a_role_that_is_scaled_to_zero() -> None:
    document = told(role("processor", replicas=0), role("prefill"))
    assert meeting_place(document, "dynamo-pd-prefill-0") == NoPlaceYet("processor")


def test_upstreams_old_addresses_get_the_name_that_resolves() -> None:
    address = "processor-0.dynamo-pd-processor"
    roles = {"processor": {"size": 1, "instances": [{"address": address}]}}
    document = {"group": {"name": "dynamo-pd", "roles": ["processor"], "size": 1}, "roles": roles}
    assert meeting_place(document, PROCESSOR) == MeetingPlace(f"dynamo-pd-{address}", ours=True)


def test_a_role_that_upstreams_newer_file_leaves_out_has_no_pods_with_names() -> None:
    """From v0.7 on it names every role and describes those of stateful kinds only."""
    roles = {"ranks": {"size": 1, "instances": [{"address": "dynamo-pd-ranks-0.s-dynamo-pd-ranks"}]}}
    document = {"group": {"name": "dynamo-pd", "roles": ["web", "ranks"], "size": 2}, "roles": roles}
    address = "dynamo-pd-ranks-0.s-dynamo-pd-ranks"
    assert meeting_place(document, "dynamo-pd-ranks-0") == MeetingPlace(address, ours=True)


@pytest.mark.parametrize("content", ["", "group: 3", "group: {roles: [a]}\nroles: {}", "a: [", "\x00"])
def test_a_file_in_another_form_is_no_group(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.yaml").write_text(content)
    assert read_place(str(tmp_path / "config.yaml"), {}) is None
    assert read_place(str(tmp_path / "nothing"), {}) is None
    assert read_place(None, {}) is None


def test_a_hub_elsewhere_is_the_store_or_stands_beside_etcd() -> None:
    far = PlaneSettings(hub_socket="a-0.s-a:9345")
    assert is_far(far.hub_socket)
    assert (store_host(far), runtime_planes(far, drain_timeout_s=1).hub) == ("a-0.s-a", "a-0.s-a:9345")
    both = PlaneSettings(hub_socket="a-0.s-a:9345", etcd_endpoints=("http://etcd:2379",))
    assert store_host(both) == "etcd"
    near = PlaneSettings(hub_socket="/run/tandem/dynamo.sock")
    assert (store_host(near), runtime_planes(near, drain_timeout_s=1).hub) == (None, Path("/run/tandem/dynamo.sock"))
    held = PlaneSettings(hub_socket="a-0.s-a:9345", group_token="word")
    assert runtime_planes(held, drain_timeout_s=1).hub_token == "word"
    own = PlaneSettings(hub_socket="/run/tandem/dynamo.sock", group_token="word")
    assert runtime_planes(own, drain_timeout_s=1).hub_token is None, "a private socket wants none"
    assert "word" not in repr(runtime_planes(held, drain_timeout_s=1))
    assert "reaches its group only" in (mixed_notice(both, reach="its group") or "")


async def test_a_taken_port_is_waited_for_and_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tandem.graph.group._RETRY_S", 0.01)
    place = MeetingPlace("127.0.0.1", ours=True)
    first = GroupSeat(place, 0)
    assert await first.take()
    assert not await GroupSeat(MeetingPlace("127.0.0.1", ours=False), 0).take()
    port = int(first._server._server.address.rpartition(":")[2])  # type: ignore[union-attr]
    second = GroupSeat(place, port)
    assert not await second.take()
    await asyncio.sleep(0.1)
    assert [record.getMessage() for record in caplog.records if "group.hub_waits" in record.getMessage()][1:] == []
    await first.aclose()
    await second._waiting  # type: ignore[misc]
    assert second._server is not None
    await second.aclose()
