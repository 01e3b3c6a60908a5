"""The guide's three commands as pods of a RoleBasedGroup: they meet by the file that the operator mounts.

Pods have names and addresses of their own; here all share this host. What tells the pod that hosts the hub is the
part of its address before the first dot, so that pod is called 127.
"""

import asyncio
import subprocess
import sys

import pytest
import yaml
from tests.process.serving import Host, Serve, eventually, free_port
from tests.process.test_guide import COMMANDS, answered_remotely, ask, start
from tests.servers import EtcdServer, NatsServer

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

FILE = {
    "group": {"name": "dynamo-pd", "roles": ["processor", "prefill", "decoder"], "size": 3},
    "roles": {
        "processor": {"size": 1, "instances": [{"address": "127.0.0.1"}]},
        "prefill": {"size": 1, "instances": [{"address": "dynamo-pd-prefill-0.s-dynamo-pd-prefill"}]},
        "decoder": {"size": 1, "instances": [{"address": "dynamo-pd-decoder-0.s-dynamo-pd-decoder"}]},
    },
}
PODS = {"processor": "127", "prefill": "dynamo-pd-prefill-0", "decoder": "dynamo-pd-decoder-0"}


class Group:
    """Starts roles as pods of one group."""

    def __init__(self, host: Host, **env: str) -> None:
        self.host, self.door = host, free_port()
        file = host.write("config.yaml", yaml.safe_dump(FILE))
        self.env = {"TANDEM_GROUP_FILE": str(file), "TANDEM_GROUP_PORT": str(free_port()), **env}

    def pod(self, role: str) -> Serve:
        """Each with a runtime folder of its own: pods share none."""
        own = self.host.folder / role
        own.mkdir(exist_ok=True)
        env = {**self.env, "HOSTNAME": PODS[role], "XDG_RUNTIME_DIR": str(own)}
        return start(self.host, role, self.door, **env)


def ready(group: Group, role: str) -> bool:
    """What a pod's readiness probe finds."""
    env = {**group.host.env, "XDG_RUNTIME_DIR": str(group.host.folder / role)}
    return subprocess.run([sys.executable, "-m", "tandem.cli.main", "ready"], env=env, check=False).returncode == 0


def test_a_pod_whose_worker_does_not_serve_yet_is_not_ready(host: Host) -> None:
    group = Group(host)
    assert not ready(group, "processor")
    processor = group.pod("processor")
    processor.said("0 of 1 decode workers")
    assert not ready(group, "processor")


def test_a_group_serves_without_etcd_and_nats(host: Host) -> None:
    group = Group(host, TANDEM_GROUP_TOKEN="let-us-in")
    serves = {role: group.pod(role) for role in ("decoder", "prefill", "processor")}  # who hosts the planes comes last
    for serve in serves.values():
        serve.wait_ready(25)
    assert ready(group, "decoder")
    assert "hosts the embedded planes at 127.0.0.1:" in serves["processor"].log
    assert "joins the embedded planes at 127.0.0.1:" in serves["decoder"].log
    eventually(lambda: answered_remotely(group.door, serves["processor"]), what="a remotely prefilled answer")
    assert serves["processor"].stop() == 0
    again = group.pod("processor")
    again.wait_ready(25)
    eventually(lambda: answered_remotely(group.door, again), what="the same after the hub's pod was replaced")
    own = host.folder / "stranger"
    own.mkdir()
    stranger = {**group.env, "TANDEM_GROUP_TOKEN": "another", "HOSTNAME": "stranger", "XDG_RUNTIME_DIR": str(own)}
    other = start(host, "decoder", free_port(), **stranger)
    other.said("the group's hub wants its token")
    assert "let-us-in" not in again.log + other.log


async def test_the_guides_service_answers_before_etcd_and_nats_are_up(host: Host) -> None:
    etcd, nats = EtcdServer(), NatsServer()
    group = Group(host, ETCD_ENDPOINTS=etcd.url, NATS_SERVER=nats.url)
    serves = {role: group.pod(role) for role in COMMANDS}
    try:
        for serve in serves.values():
            serve.wait_ready(25)
        assert ask(group.door)[0] == 200
        await nats.start()
        eventually(lambda: answered_remotely(group.door, serves["processor"]), what="a remotely prefilled answer")
        await etcd.start()
        for serve in serves.values():
            serve.said("registry.store_back")
        await asyncio.sleep(0.5)
        assert answered_remotely(group.door, serves["processor"])
    finally:
        for serve in serves.values():
            serve.stop()
        await etcd.aclose()
        await nats.aclose()
