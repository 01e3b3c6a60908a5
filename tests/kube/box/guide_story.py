"""The guide from its files to a rolling update under load, as a person would go through it.

python -m tests.kube.box.guide_story from_its_files|rolled_under_load FOLDER [simulated]
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml
from tests.kube.box.inside import (
    Load,
    apply,
    box,
    chat,
    get,
    has_pods,
    kubectl,
    of_file,
    pods,
    post,
    write_hosts,
)
from tests.kube.box.node import address_of
from tests.kube.cluster import Cluster, until

from tandem.core.paths import at
from tandem.operator.api import url_of
from tandem.operator.types import Raw

GROUP = "dynamo-pd"
PROCESSOR = address_of(f"{GROUP}-processor-0")
LIMIT_S = 240.0


class Story:
    """What happened when, and figures; the last line that is printed is all of it as JSON."""

    def __init__(self, engine: str | None) -> None:
        self.engine, self.figures = engine, dict[str, object](engine=engine or "vllm")
        self._began = time.monotonic()
        write_hosts({"etcd": "etcd-0", "nats": "nats", "dynamo-service": f"{GROUP}-processor-0"})

    def note(self, name: str) -> None:
        self.figures[name] = round(time.monotonic() - self._began, 1)
        print(f"{self.figures[name]:>6} s  {name}", flush=True)

    async def apply_guide(self, cluster: Cluster, **replicas: int) -> None:
        """The guide's files but for etcd and NATS. One object is replaced: the volume with the model."""
        secret, volume, claim = of_file("01-model.yaml")
        del volume["spec"]["csi"]
        volume["spec"]["hostPath"] = {"path": "/models"}
        group = the_group()
        for role in group["spec"]["roles"]:
            role["replicas"] = replicas.get(role["name"], role["replicas"])
        await apply(cluster, secret, volume, claim, configs(self.engine), group, *of_file("06-service.yaml"))


async def from_its_files(folder: Path, engine: str | None) -> None:
    """Files applied, etcd and NATS last: the service answers before they are there, then as the guide has it."""
    story = Story(engine)
    async with box(folder) as cluster:
        await story.apply_guide(cluster)
        await until(lambda: ready(cluster), limit_s=LIMIT_S)
        story.note("READY without etcd and NATS")
        assert await answered(remotely=False)
        story.note("answered without etcd and NATS")
        await apply(cluster, *of_file("02-etcd.yaml"), *of_file("03-nats.yaml"))
        await until(lambda: answered(remotely=True), limit_s=LIMIT_S)
        story.note("prefilled remotely")
        table = kubectl("get", "rbg", GROUP)
        print(table, kubectl("get", "pods", "-o", "wide"), sep="\n", flush=True)
        assert not table or table.split()[:2] + table.splitlines()[1].split()[:2] == ["NAME", "READY", GROUP, "True"]
        counts = {role: len(await pods(cluster, role)) for role in ("processor", "prefill", "decoder")}
        assert counts == {"processor": 1, "prefill": 2, "decoder": 1}
        endpoints = await cluster.api.request("GET", "/api/v1/namespaces/default/endpoints/dynamo-service")
        assert at(endpoints, "subsets")[0]["addresses"][0]["ip"] == PROCESSOR

        await change(cluster, "prefill", lambda role: role | {"scalingAdapter": {"enable": True}})
        await until(lambda: bound(cluster))
        adapter = url_of("RoleBasedGroupScalingAdapter", "default", f"{GROUP}-prefill")
        await cluster.api.patch(f"{adapter}/scale", {"spec": {"replicas": 3}})
        await until(lambda: has_pods(cluster, "prefill", 3), limit_s=LIMIT_S)
        await until(lambda: ready(cluster), limit_s=LIMIT_S)
        story.note("prefill scaled to 3 by its adapter")
        assert await answered(remotely=True)
    print(json.dumps(story.figures), flush=True)


async def rolled_under_load(folder: Path, engine: str | None) -> None:
    """With a second decoder: the templates of prefill and then of the decoders change while clients ask."""
    story = Story(engine)
    async with box(folder) as cluster:
        await apply(cluster, *of_file("02-etcd.yaml"), *of_file("03-nats.yaml"))
        await story.apply_guide(cluster, decoder=2)
        await until(lambda: ready(cluster), limit_s=LIMIT_S)
        await until(lambda: answered(remotely=True), limit_s=LIMIT_S)
        story.note("READY with two decoders")
        async with Load("http://dynamo-service:8000/v1/chat/completions", clients=2) as load:
            for role in ("prefill", "decoder"):
                asked = load.asked
                await roll(cluster, role)
                story.note(f"{role} rolled")
                story.figures[f"requests while {role} rolled"] = load.asked - asked
        assert await answered(remotely=True)
    story.figures |= {"requests": load.asked, "failed": len(load.failures), "slowest_s": round(load.slowest_s, 1)}
    print(json.dumps(story.figures), flush=True)
    assert not load.failures, load.failures[:5]


def configs(engine: str | None) -> Raw:
    """The guide's ConfigMap as it is, or for a quick run with another engine."""
    [found] = of_file("04-configs.yaml")
    if engine is not None:
        document = yaml.safe_load(found["data"]["qwen3.yaml"])
        for section in ("VllmWorker", "PrefillWorker"):
            document[section]["engine"] = engine
        found["data"]["qwen3.yaml"] = yaml.safe_dump(document)
    return found


def the_group() -> Raw:
    [found] = of_file("05-dynamo.yaml")
    for role in found["spec"]["roles"]:
        role["template"]["spec"]["containers"][0]["image"] = "tandem"  # the guide's blank
    return found


async def ready(cluster: Cluster) -> bool:
    return (await cluster.condition("RoleBasedGroup", GROUP)).get("status") == "True"


async def bound(cluster: Cluster) -> bool:
    adapter = await cluster.get("RoleBasedGroupScalingAdapter", f"{GROUP}-prefill")
    return bool(at(adapter, "status", "phase") == "Bound")


async def change(cluster: Cluster, name: str, edit: Callable[[Raw], Raw]) -> None:
    """Edit one role as it is now."""
    group = await cluster.must("RoleBasedGroup", GROUP)
    roles = group["spec"]["roles"]
    [index] = [number for number, role in enumerate(roles) if role["name"] == name]
    await cluster.patch(
        "RoleBasedGroup", GROUP, {"op": "replace", "path": f"/spec/roles/{index}", "value": edit(roles[index])}
    )


async def roll(cluster: Cluster, role: str) -> None:
    """Change a role's template; return when every pod is another one and ready."""
    before = set((await pods(cluster, role)).values())

    def edited(found: Raw) -> Raw:
        found["template"]["spec"]["containers"][0]["env"].append({"name": "RELEASE", "value": "2"})
        return found

    await change(cluster, role, edited)

    async def over() -> bool:
        now = set((await pods(cluster, role)).values())
        return len(now) == len(before) and not now & before

    await until(over, limit_s=LIMIT_S)
    await until(lambda: ready(cluster), limit_s=LIMIT_S)


async def answered(*, remotely: bool) -> bool:
    """Ask as the guide does, and look up how the answer was made."""
    answer = await asyncio.to_thread(
        post, f"http://{PROCESSOR}:8000/v1/chat/completions", chat(f"Let's test it, at {time.time()}")
    )
    assert answer["choices"][0]["message"]["role"] == "assistant"
    story = await asyncio.to_thread(get, f"http://{PROCESSOR}:9347/trace/{answer['id']}")
    return ("kv_pull" in [stage["name"] for stage in story["stages"]]) is remotely


if __name__ == "__main__":
    name, folder, *more = sys.argv[1:]
    chosen = {"from_its_files": from_its_files, "rolled_under_load": rolled_under_load}[name]
    asyncio.run(chosen(Path(folder), more[0] if more else None))
