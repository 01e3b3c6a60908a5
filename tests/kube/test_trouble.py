"""An API server that refuses, fails and drops: nothing is lost, and nothing is made that nobody asked for."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tests.kube.cluster import Cluster, until
from tests.kube.test_changes import rolling
from tests.kube.test_operators import stop
from tests.kube.trouble import Trouble
from tests.operator.builders import DEPLOYMENT, role

from tandem.operator.access import find_access

Runner = Callable[..., "subprocess.Popen[bytes]"]


@pytest.mark.timeout(150)
async def test_a_server_in_trouble_loses_nothing(
    empty: Cluster, run_operator: Runner, kubeconfig: str, tmp_path: Path
) -> None:
    trouble = Trouble(find_access({}, kubeconfig=kubeconfig), seed=7)
    async with trouble.serving() as address:
        flags = ["--kubeconfig", by_way_of(address, kubeconfig, tmp_path), "--namespace", empty.namespace]
        operator = run_operator(*flags, "--lease-namespace", empty.namespace, name="troubled")
        try:
            await life_of_groups(empty)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{log_of(operator)[-6000:]}") from error
        assert operator.poll() is None
        assert await stop(operator) == 0
    assert "reconcile.crashed" not in log_of(operator), log_of(operator)
    assert {"409", "410", "429", "503", "dropped", "dropped before", "dropped after"} <= trouble.happened.keys()


async def life_of_groups(empty: Cluster) -> None:
    """Made, changed, deleted."""
    for number in range(5):
        await empty.group(f"g{number}", role("a", replicas=2), role("b", dependencies=["a"]))
    for number in range(5):
        await empty.ready(f"g{number}", limit_s=60)
    await empty.group("g0", role("a", replicas=3), role("web", workload=DEPLOYMENT))
    await empty.write("RoleBasedGroupSet", "s", {"replicas": 2, "template": {"roles": [rolling("one", 1)]}})
    await empty.delete("RoleBasedGroup", "g4")
    await empty.ready("g0", limit_s=60)
    await empty.ready("s", "RoleBasedGroupSet", limit_s=60)
    wanted = {"g0-a", *(f"g{n}-{r}" for n in (1, 2, 3) for r in "ab"), "s-0-a", "s-1-a"}
    await until(lambda: are(empty, wanted), lambda: empty.names("StatefulSet"), limit_s=60)
    assert await empty.names("Deployment") == ["g0-web"]


def log_of(process: "subprocess.Popen[bytes]") -> str:
    return str(process.log.read_text())  # type: ignore[attr-defined]


def by_way_of(address: str, kubeconfig: str, folder: Path) -> str:
    """The same cluster, through another address."""
    config = yaml.safe_load(Path(kubeconfig).read_text())
    config["clusters"][0]["cluster"] = {"server": address}
    (folder / "config").write_text(yaml.safe_dump(config))
    return str(folder / "config")


async def are(cluster: Cluster, wanted: set[str]) -> bool:
    return set(await cluster.names("StatefulSet")) == wanted
