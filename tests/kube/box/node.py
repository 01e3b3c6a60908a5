"""The node of the box: the process kubelet, with a network for each pod and probes that run inside the pod.

python -m tests.kube.box.node --kubelet PROGRAM --kubeconfig FILE --state FOLDER [--claim NAME=FOLDER]
"""

import argparse
import base64
import importlib.util
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import yaml

FIRST_OF: dict[str, int] = {
    "etcd": 2,
    "nats": 3,
    "dynamo-pd-processor": 10,
    "dynamo-pd-prefill": 20,
    "dynamo-pd-decoder": 30,
    "ranks-engine": 100,
}
"""Workload → last number of its first pod's address."""


def address_of(pod: str) -> str:
    """A pod's address, by its name: so that a hosts file can name them all in advance."""
    for name, first in FIRST_OF.items():
        if pod.startswith(name):
            numbers = [int(part) for part in pod.removeprefix(name).split("-") if part.isdigit() and len(part) < 3]
            group, rank, *_ = [*numbers, 0, 0]
            return f"10.244.0.{first + group + 10 * rank}"
    raise LookupError(f"{pod}: give its workload an address")


class Configuration:
    """What the kubelet wants from the package `kubernetes`: where the server is, and the token for it."""

    def __init__(self) -> None:
        self.host, self.ssl_ca_cert, self.cert_file, self.key_file = "", "", None, None
        self.api_key: dict[str, str] = {}


def load_kube_config(config_file: str, client_configuration: Configuration) -> None:
    """Read a kubeconfig as the control plane of these tests writes it."""
    config = yaml.safe_load(Path(config_file).read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    authority = Path(f"{config_file}.ca")
    authority.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    client_configuration.host, client_configuration.ssl_ca_cert = cluster["server"], str(authority)
    client_configuration.api_key = {"authorization": user["token"]}


def load(path: str) -> ModuleType:
    """The kubelet as a module."""
    parts: dict[str, dict[str, Any]] = {
        "client": {"Configuration": Configuration},
        "config": {"load_kube_config": load_kube_config},
    }
    stand_in = ModuleType("kubernetes")
    for name, found in parts.items():
        setattr(stand_in, name, SimpleNamespace(**found))
    sys.modules["kubernetes"] = stand_in
    spec = importlib.util.spec_from_file_location("process_kubelet", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["process_kubelet"] = module
    spec.loader.exec_module(module)
    return module


def with_networks(kubelet: ModuleType) -> None:
    """Give the kubelet's pods networks of their own."""

    class Pod(kubelet.Pod):  # type: ignore[misc, name-defined]
        """One pod: a process that holds its network namespace, and an address in it."""

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.ip = address_of(self.pod)
            self.holder: subprocess.Popen[bytes] | None = None

        def run(self) -> None:
            number = self.ip.rpartition(".")[2]
            self.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
            outside = os.readlink("/proc/self/ns/net")
            while os.readlink(f"/proc/{self.holder.pid}/ns/net") == outside:
                threading.Event().wait(0.01)
            pid, mac = str(self.holder.pid), f"02:00:00:00:01:{int(number):02x}"
            _ip("link", "add", f"v{pid}", "type", "veth", "peer", "name", "eth0", "address", mac, "netns", pid)
            _ip("link", "set", f"v{pid}", "master", "br0", "up")
            for line in ("link set lo up", f"addr add {self.ip}/16 dev eth0", "link set eth0 up"):
                subprocess.run([*self.enter(), "ip", *line.split()], check=True)
            try:
                super().run()
            finally:
                self.holder.kill()
                self.holder.wait()

        def enter(self) -> list[str]:
            assert self.holder is not None
            return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net"]

        def kill(self, containers: Any, grace: float) -> None:
            """As a container runtime does: the first process alone hears of the end, the rest is killed with it."""
            running = [each.proc for each in containers if each.proc is not None]
            for process in running:
                process.terminate()
            end = time.monotonic() + grace
            while time.monotonic() < end and any(process.poll() is None for process in running):
                time.sleep(0.05)
            super().kill(containers, 0)

        def check(self, container: Any, probe: Any) -> bool:
            if "exec" not in probe:
                return bool(super().check(container, probe))
            inside = ["nsenter", "-t", str(container.proc.pid), "--net", "--mount", "--root", *probe["exec"]["command"]]
            try:
                limit = probe.get("timeoutSeconds", 1)
                return subprocess.run(inside, env=self.env(container.spec), timeout=limit).returncode == 0
            except (subprocess.TimeoutExpired, AttributeError):
                return False

    def popen(command: list[str], **more: Any) -> "subprocess.Popen[bytes]":
        """Containers start in their pod's network: the kubelet runs each pod in a thread that is the pod."""
        pod = threading.current_thread()
        return subprocess.Popen([*pod.enter(), *command] if isinstance(pod, Pod) else command, **more)

    kubelet.Pod = Pod  # type: ignore[attr-defined]
    kubelet.subprocess = SimpleNamespace(Popen=popen, run=subprocess.run, DEVNULL=subprocess.DEVNULL)  # type: ignore[attr-defined]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def main() -> None:
    """Run the node until it is killed."""
    parser = argparse.ArgumentParser()
    for name in ("kubelet", "kubeconfig", "state"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--claim", action="append", default=[])
    options = parser.parse_args()
    kubelet = load(options.kubelet)
    with_networks(kubelet)
    etcd = "etcd --data-dir /var/lib/etcd --listen-client-urls http://0.0.0.0:2379 --advertise-client-urls http://etcd:2379"
    room = {"cpu": "512", "memory": "4Ti", "gpus": 16}
    wish = {"node": "box", "pod_ip": "10.244.0.1", "root": "overlay", "bind": True, "backoff": 1.0, "tick": 0.1}
    entrypoints = [f"/etcd:={etcd}", "nats:=nats-server"]
    given = {**room, **wish, **vars(options), "keep": True, "entrypoint": entrypoints}
    kubelet.Kubelet(SimpleNamespace(**given)).run()


if __name__ == "__main__":
    main()
