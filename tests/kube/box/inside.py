"""What stories in the box share: a control plane, the operator, the node, objects from files, requests and load."""

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from tests.kube.box.node import FIRST_OF, address_of
from tests.kube.cluster import Cluster
from tests.kube.conftest import install
from tests.kube.server import control_plane
from tests.tools import tool

from tandem.core.paths import at
from tandem.operator.access import find_access
from tandem.operator.api import APPLY, Api, url_of
from tandem.operator.types import Raw

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "deploy" / "guide"
MODEL = ROOT / "models" / "tiny-qwen3"
COMMANDS = "/usr/local/lib/tandem"


def write_hosts(services: dict[str, str]) -> None:
    """Names of Services, and of the pods behind headless ones, as a cluster's DNS would tell them."""
    lines = ["127.0.0.1 localhost", *(f"{address_of(pod)} {name}" for name, pod in services.items())]
    for workload in FIRST_OF:
        service = f"s-{workload}" if workload.startswith("dynamo") else workload
        names = [f"{workload}-{number}" for number in range(5)]
        if workload == "ranks-engine":
            names += [f"{leader}-{rank}" for leader in names for rank in range(1, 4)]
        lines += [f"{address_of(pod)} {pod}.{service} {pod}.{service}.default {pod}" for pod in names]
    Path("/etc/hosts").write_text("\n".join(lines) + "\n")


@asynccontextmanager
async def box(folder: Path) -> AsyncIterator[Cluster]:
    """A cluster whose namespace `default` has the operator and one node."""
    assets = Path(os.environ["KUBEBUILDER_ASSETS"])
    (folder / "plane").mkdir()
    with control_plane(assets, folder / "plane") as kubeconfig:
        await install(str(kubeconfig))
        environ = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        operator = [sys.executable, "-m", "tandem.cli.main", "operator", "--http-port", "8081"]
        node = [sys.executable, "-m", "tests.kube.box.node", "--kubelet", os.environ["PROCESS_KUBELET"]]
        node += ["--kubeconfig", str(kubeconfig), "--state", str(folder / "node"), "--claim", f"llm-model={MODEL}"]
        path = f"{COMMANDS}:{os.environ['PATH']}"
        started = [
            run(operator, folder / "operator.log", environ),
            run(node, folder / "node.log", {**environ, "PATH": path}),
        ]
        os.environ["KUBECONFIG"] = str(kubeconfig)
        try:
            async with Api(find_access({}, kubeconfig=str(kubeconfig))) as api:
                yield Cluster(api, "default")
        finally:
            for process in started:
                process.terminate()


def run(command: list[str], log: Path, environ: dict[str, str]) -> "subprocess.Popen[bytes]":
    with log.open("wb") as out:
        return subprocess.Popen(command, env=environ, stdout=out, stderr=out)


async def apply(cluster: Cluster, *documents: Raw) -> None:
    """As `kubectl apply --server-side`."""
    for item in documents:
        kind, metadata = item["kind"], item["metadata"]
        namespace = None if kind == "PersistentVolume" else metadata.get("namespace", cluster.namespace)
        path = url_of(kind, namespace, metadata["name"], api_version=item["apiVersion"])
        params = {"fieldManager": "user", "force": "true"}
        await cluster.api.request("PATCH", path, with_protocols(item), params=params, content=APPLY)


def with_protocols(item: Raw) -> Raw:
    """Kubernetes 1.20 wants `protocol` written out in a server-side apply; later ones know its default."""

    def walk(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: walk(each, name) for name, each in value.items()}
        if isinstance(value, list):
            if key == "ports":
                return [{"protocol": "TCP", **walk(each)} for each in value]
            return [walk(each) for each in value]
        return value

    found: Raw = walk(item)
    return found


def of_file(name: str) -> list[Raw]:
    """The objects of one of the guide's files."""
    return [document for document in yaml.safe_load_all((GUIDE / name).read_text()) if document]


def kubectl(*words: str) -> str:
    """What a person would see; empty where there is no kubectl."""
    program = tool("kubectl")
    return subprocess.run([program, *words], capture_output=True, text=True, check=True).stdout if program else ""


def post(url: str, body: Raw, timeout_s: float = 60.0) -> Raw:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:
        found: Raw = json.loads(answer.read())
        return found


def get(url: str) -> Raw:
    with urllib.request.urlopen(url, timeout=10) as answer:
        found: Raw = json.loads(answer.read())
        return found


def chat(text: str, **more: Any) -> Raw:
    return {"model": "qwen", "messages": [{"role": "user", "content": text}], "stream": False, "max_tokens": 30, **more}


class Load:
    """Clients that ask one thing after another, each time something new; every answer counts."""

    def __init__(self, url: str, clients: int) -> None:
        self.url, self.asked, self.failures = url, 0, list[str]()
        self.slowest_s = 0.0
        self._clients, self._over = clients, False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Load":
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(self._clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        await asyncio.gather(*self._tasks)

    async def _client(self, number: int) -> None:
        while not self._over:
            began = time.monotonic()
            self.asked += 1
            try:
                answer = await asyncio.to_thread(
                    post, self.url, chat(f"Client {number} asks for the {self.asked}. time", max_tokens=8)
                )
                assert answer["choices"][0]["finish_reason"] in ("length", "stop"), answer
            except Exception as error:  # a failed request is the finding, whatever it is
                body = error.read().decode() if hasattr(error, "read") else ""
                self.failures.append(f"{type(error).__name__}: {error} {body}")
                await asyncio.sleep(0.5)
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)


async def pods(cluster: Cluster, role: str) -> dict[str, str]:
    """Ready pods of a role: name → uid."""
    found = await cluster.api.request("GET", url_of("Pod", cluster.namespace))
    return {
        pod["metadata"]["name"]: pod["metadata"]["uid"]
        for pod in found["items"]
        if pod["metadata"]["name"].startswith(f"dynamo-pd-{role}")
        and not at(pod, "metadata", "deletionTimestamp")
        and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
    }


async def has_pods(cluster: Cluster, role: str, count: int) -> bool:
    return len(await pods(cluster, role)) == count
