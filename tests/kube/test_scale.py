"""Five hundred groups of three roles: how long until all their children are made, and what the operator costs then."""

import asyncio
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from tests.kube.cluster import Cluster, until
from tests.kube.conftest import free_port
from tests.operator.builders import pod, role

from tandem.operator.api import url_of
from tandem.operator.labels import NAME
from tandem.operator.types import Raw

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(460)]

Runner = Callable[..., "subprocess.Popen[bytes]"]
GROUPS, ROLES = 500, ("a", "b", "c")
CHILDREN = ("StatefulSet", "Service", "ConfigMap")
WRITERS = 8


async def test_500_groups(empty: Cluster, run_operator: Runner) -> None:
    port = free_port()
    flags = ("--namespace", empty.namespace, "--lease-namespace", empty.namespace, "--http-port", str(port))
    first = run_operator(*flags)
    await until(lambda: page(port, "tandem_operator_leader"))
    figures: dict[str, object] = {}
    empty.asleep = True  # pods stay pending: what a node's reading of them costs the server is not the operator's

    began = time.monotonic()
    numbers = iter(range(GROUPS))
    await asyncio.gather(*(write_groups(empty, numbers) for _ in range(WRITERS)))
    figures["groups written s"] = round(time.monotonic() - began, 1)
    await until(lambda: all_made(empty), lambda: made(empty), limit_s=200)
    figures["all children made s"] = round(time.monotonic() - began, 1)
    figures["operator cpu s"] = round(await page(port, "process_cpu_seconds_total"), 1)

    print(json.dumps(figures), flush=True)

    await until(lambda: settled(port), limit_s=150)
    began, spent = time.monotonic(), await page(port, "process_cpu_seconds_total")
    await asyncio.sleep(20)
    busy_s = await page(port, "process_cpu_seconds_total") - spent
    figures["idle, % of a core"] = round(100 * busy_s / (time.monotonic() - began), 2)
    figures["resident MB"] = round(await page(port, "process_resident_memory_bytes") / 1e6)

    began = time.monotonic()
    await empty.group("g7", *(role(name, template=pod("other") if name == "b" else pod()) for name in ROLES))
    await until(lambda: has_container(empty, "g7-b", "other"), limit_s=10)
    figures["one change s"] = round(time.monotonic() - began, 2)

    await until(lambda: settled(port), limit_s=60)
    first.terminate()
    assert await asyncio.to_thread(first.wait, 20) == 0
    before = await versions(empty)
    second_port = free_port()
    second = run_operator(*flags[:-1], str(second_port), name="again")
    await until(lambda: page(second_port, "tandem_operator_leader"), limit_s=60)
    await asyncio.sleep(5)
    await until(lambda: settled(second_port), limit_s=60)
    changed = {key for key, version in (await versions(empty)).items() if before.get(key) != version}
    figures["objects changed by a restart"] = len(changed)
    second.terminate()
    assert await asyncio.to_thread(second.wait, 20) == 0
    print(json.dumps(figures))
    assert not changed
    assert float(str(figures["all children made s"])) <= 60
    assert float(str(figures["one change s"])) < 1
    assert float(str(figures["idle, % of a core"])) < 2
    assert float(str(figures["resident MB"])) < 200


async def write_groups(cluster: Cluster, numbers: Iterator[int]) -> None:
    for number in numbers:
        await cluster.group(f"g{number}", *(role(name) for name in ROLES))


async def made(cluster: Cluster) -> dict[str, int]:
    """How many children there are."""
    found = {}
    for kind in CHILDREN:
        params = {"labelSelector": NAME, "resourceVersion": "0"}
        listed = await cluster.api.request("GET", url_of(kind, cluster.namespace), params=params)
        found[kind] = len(listed["items"])
    return found


async def all_made(cluster: Cluster) -> bool:
    await asyncio.sleep(0.5)
    return all(count == GROUPS * len(ROLES) for count in (await made(cluster)).values())


async def has_container(cluster: Cluster, name: str, container: str) -> bool:
    found = await cluster.must("StatefulSet", name)
    return bool(found["spec"]["template"]["spec"]["containers"][0]["name"] == container)


async def page(port: int, metric: str) -> float:
    """A figure from the operator's own page; 0 before it answers."""
    try:
        text = await fetched(port)
    except httpx.TransportError:
        return 0.0
    return sum(float(value) for value in re.findall(rf"^{re.escape(metric)}(?:{{[^}}]*}})? (\S+)", text, re.MULTILINE))


async def fetched(port: int) -> str:
    """An operator's page of metrics."""
    async with httpx.AsyncClient() as client:
        return (await client.get(f"http://127.0.0.1:{port}/metrics")).text


async def settled(port: int) -> bool:
    """Nothing waits, and nothing has been reconciled for two seconds."""
    before = await page(port, "tandem_operator_reconciliations_total")
    await asyncio.sleep(2)
    after = await page(port, "tandem_operator_reconciliations_total")
    return before == after and await page(port, "tandem_operator_queue_keys") == 0


async def versions(cluster: Cluster) -> dict[str, str]:
    found: dict[str, str] = {}
    for kind in (*CHILDREN, "ControllerRevision", "RoleBasedGroup"):
        items: list[Raw] = (await cluster.api.request("GET", url_of(kind, cluster.namespace)))["items"]
        found |= {f"{kind}/{item['metadata']['name']}": item["metadata"]["resourceVersion"] for item in items}
    return found
