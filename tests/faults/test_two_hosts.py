"""Prefill and decode on two hosts: network namespaces with addresses of their own, joined by a bridge.

    hub 10.99.7.1: etcd, NATS, Frontend and Processor     p 10.99.7.2: prefill worker     d 10.99.7.3: decode worker

Real vLLM, real NIXL. Needs root (to make the namespaces).
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.process.serving import MODEL

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

HOSTS = {"hub": "10.99.7.1", "p": "10.99.7.2", "d": "10.99.7.3"}
GRAPH = "from tandem.graph.services import Frontend, Processor\n\nFrontend.link(Processor)\n"
WORKER = "  block-size: 32\n  max-model-len: 2048\n"
YAML = f"""\
Common:
  model: {MODEL}
Frontend:
  served_model_name: demo
  port: 8000
Processor:
  common-configs: [model]
VllmWorker:
  common-configs: [model]
  remote-prefill: true
  conditional-disagg: false
{WORKER}
PrefillWorker:
  common-configs: [model]
{WORKER}
"""


class Hosts:
    """Three namespaces of this test's own, and what runs in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tag = f"td{os.getpid() % 100000}"
        self._running: list[subprocess.Popen[bytes]] = []

    def name(self, host: str) -> str:
        return f"{self._tag}{host}"

    def up(self) -> None:
        """Make the namespaces and a bridge in the hub's that joins them."""
        for host in HOSTS:
            _ip("netns", "add", self.name(host))
            _ip("-n", self.name(host), "link", "set", "lo", "up")
        hub = self.name("hub")
        _ip("-n", hub, "link", "add", "br0", "type", "bridge")
        _ip("-n", hub, "addr", "add", f"{HOSTS['hub']}/24", "dev", "br0")
        _ip("-n", hub, "link", "set", "br0", "up")
        for host in ("p", "d"):
            _ip(
                "-n", hub, "link", "add", f"to-{host}", "type", "veth", "peer", "name", "eth0", "netns", self.name(host)
            )
            _ip("-n", hub, "link", "set", f"to-{host}", "master", "br0", "up")
            _ip("-n", self.name(host), "addr", "add", f"{HOSTS[host]}/24", "dev", "eth0")
            _ip("-n", self.name(host), "link", "set", "eth0", "up")

    def start(self, host: str, name: str, *command: str, env: Mapping[str, str] | None = None) -> None:
        """Run a command on a host; its output goes to NAME.log."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self._running.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", self.name(host), *command],
                    cwd=self.folder,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **(env or {})},
                )
            )

    def run(self, host: str, *command: str) -> str:
        """Run a command on a host to its end."""
        done = subprocess.run(["ip", "netns", "exec", self.name(host), *command], capture_output=True, check=True)
        return done.stdout.decode()

    def all_run(self) -> bool:
        """Whether nothing has ended yet."""
        return all(process.poll() is None for process in self._running)

    def down(self) -> None:
        """End what runs, by process id, and remove the namespaces."""
        for process in reversed(self._running):
            process.terminate()
        for process in reversed(self._running):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for host in HOSTS:
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "del", self.name(host))


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """Three hosts on one bridge, in a folder whose name is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="td-") as folder:
        made = Hosts(Path(folder))
        try:
            made.up()
            yield made
        finally:
            made.down()


def fetch(hosts: Hosts, url: str, body: dict[str, Any] | None = None) -> Any:
    """Call an URL from the hub. None while nobody answers."""
    arguments = [] if body is None else ["-H", "content-type: application/json", "-d", json.dumps(body)]
    try:
        return json.loads(hosts.run("hub", "curl", "-sf", "--max-time", "60", *arguments, url))
    except (subprocess.CalledProcessError, json.JSONDecodeError):
        return None


def test_kv_travels_between_two_hosts(hosts: Hosts) -> None:
    (hosts.folder / "two_hosts.py").write_text(GRAPH)
    (hosts.folder / "two_hosts.yaml").write_text(YAML)
    hub = HOSTS["hub"]
    data = str(hosts.folder / "etcd")
    url = f"http://{hub}:2379"
    hosts.start(
        "hub", "etcd", "etcd", "--data-dir", data, "--listen-client-urls", url, "--advertise-client-urls", url,
    )  # fmt: skip
    hosts.start("hub", "nats", "nats-server", "-js", "-a", hub, "-sd", str(hosts.folder / "nats"))
    tandem = str(Path(sys.executable).parent / "tandem")
    for host, target in (
        ("hub", "two_hosts:Frontend"),
        ("p", "tandem.graph.services:PrefillWorker"),
        ("d", "tandem.graph.services:VllmWorker"),
    ):
        env = {
            "ETCD_ENDPOINTS": url,
            "NATS_SERVER": f"nats://{hub}:4222",
            "XDG_RUNTIME_DIR": str(hosts.folder / host),
            "UCX_TLS": "tcp",  # memory is shared between namespaces, between hosts it is not
        }
        (hosts.folder / host).mkdir()
        only = [] if host == "hub" else ["--service-name", target.partition(":")[2]]
        hosts.start(host, f"serve-{host}", tandem, "serve", target, "-f", "two_hosts.yaml", *only, env=env)

    question = {
        "model": "demo",
        "prompt": list(range(400, 900)),
        "max_tokens": 16,
        "temperature": 0,
        "ignore_eos": True,
    }
    logs = [hosts.folder / f"serve-{host}.log" for host in HOSTS]
    give_up = time.monotonic() + 150
    while True:
        status = fetch(hosts, "http://127.0.0.1:9347/status")
        workers = [c for log in logs for c in log.read_text(errors="replace").splitlines() if "instance.announced" in c]
        if status and status["ready"] and len(workers) >= 3:
            break
        if time.monotonic() > give_up or not hosts.all_run():
            pytest.fail("\n".join(log.read_text(errors="replace")[-1500:] for log in logs))
        time.sleep(0.5)

    answer = fetch(hosts, "http://127.0.0.1:8000/v1/completions", question)
    request_id = answer["id"].removeprefix("cmpl-")
    stages = {s["name"]: s for s in fetch(hosts, f"http://127.0.0.1:9347/trace/{request_id}")["stages"]}
    assert stages["prefill_decision"]["detail"] == {"site": "remote", "reason": "always"}
    assert stages["kv_pull"]["detail"]["kv_bytes"] > 0
    assert "recovered" not in stages
    assert answer["usage"]["completion_tokens"] == 16
    addresses = {line.split("address=")[1].split(":")[0] for line in workers}
    assert addresses == set(HOSTS.values()), "each host is called by its own address"
    decode_links = hosts.run("hub", "ip", "-s", "-j", "link", "show", "to-d")
    assert json.loads(decode_links)[0]["stats64"]["tx"]["bytes"] > stages["kv_pull"]["detail"]["kv_bytes"]
