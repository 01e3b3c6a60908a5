"""A real API server for these tests: KUBECONFIG names one, or KUBEBUILDER_ASSETS holds the binaries of one.

The operator runs as a process of its own, as it does in production.
"""

import asyncio
import contextlib
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from tests.kube.cluster import Cluster, until
from tests.kube.fixtures import FOREIGN_CRDS
from tests.kube.server import control_plane
from tests.kube.service_crds import SERVICE_CRDS

from tandem.operator.access import find_access
from tandem.operator.api import Api, ApiError, url_of
from tandem.operator.crds import crds

MISSING = "no Kubernetes API server: set KUBECONFIG to a test cluster, or KUBEBUILDER_ASSETS to a folder of binaries"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.kube)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(90))


@pytest.fixture(scope="session")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if named := os.environ.get("KUBECONFIG"):
        yield named
    elif assets := os.environ.get("KUBEBUILDER_ASSETS"):
        with control_plane(Path(assets), tmp_path_factory.mktemp("kube")) as made:
            yield str(made)
    else:
        pytest.fail(MISSING)


Runner = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture(scope="session")
def run_operator(kubeconfig: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """Starts operators; ends those that still run."""
    asyncio.run(install(kubeconfig))
    folder, started = tmp_path_factory.mktemp("operator"), list[subprocess.Popen[bytes]]()

    def run(*flags: str, name: str = "operator") -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tandem.cli.main", "operator", "--kubeconfig", kubeconfig]
        if "--http-port" not in flags:
            command += ["--http-port", str(free_port())]
        log = (folder / f"{name}-{len(started)}.log").open("wb")
        with log:
            process = subprocess.Popen([*command, *flags], stdout=log, stderr=log)
        process.log = Path(log.name)  # type: ignore[attr-defined]
        started.append(process)
        return process

    yield run
    for process in started:
        process.terminate()
    for process in started:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def operator(run_operator: Runner) -> Iterator[subprocess.Popen[bytes]]:
    """One for all namespaces, while a module's tests run."""
    process = run_operator()
    yield process
    process.terminate()
    assert process.wait(20) == 0


@pytest.fixture
async def api(kubeconfig: str) -> AsyncIterator[Api]:
    async with Api(find_access({}, kubeconfig=kubeconfig)) as found:
        yield found


@pytest.fixture
async def empty(api: Api, run_operator: Runner) -> AsyncIterator[Cluster]:
    """A namespace with a node and no operator of its own."""
    name = f"t-{secrets.token_hex(4)}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await api.create("/api/v1/namespaces", body)
    cluster = Cluster(api, name)
    await until(lambda: api.request("GET", f"/api/v1/namespaces/{name}/serviceaccounts", params={}))
    node = asyncio.create_task(cluster.node())
    yield cluster
    node.cancel()
    await asyncio.gather(node, return_exceptions=True)
    for kind in ("RoleBasedGroupSet", "RoleBasedGroup"):
        await api.request("DELETE", url_of(kind, name))
    await api.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
async def cluster(empty: Cluster, operator: subprocess.Popen[bytes]) -> Cluster:
    """A namespace with a node and the operator."""
    assert operator.poll() is None, "the operator ended"
    return empty


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def install(kubeconfig: str) -> None:
    """Our CRDs, and small ones of the kinds that others bring."""
    async with Api(find_access({}, kubeconfig=kubeconfig)) as api:
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for document in [*crds().values(), *FOREIGN_CRDS, *SERVICE_CRDS]:
            name = document["metadata"]["name"]
            params = {"fieldManager": "test", "force": "true"}
            content = "application/apply-patch+yaml"
            await api.request("PATCH", f"{path}/{name}", document, params=params, content=content)
        for document in [*crds().values(), *FOREIGN_CRDS, *SERVICE_CRDS]:
            spec = document["spec"]
            served = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
            await until(lambda served=served: _answers(api, served))  # type: ignore[misc]


async def _answers(api: Api, path: str) -> bool:
    try:
        await api.request("GET", path)
    except ApiError:
        return False
    return True
