"""A role on LeaderWorkerSet: two replicas of an engine over three pods each; every rank finds its own leader.

python -m tests.kube.box.ranks_story ranks FOLDER

LeaderWorkerSet's own controller cannot be had here, so the story plays it: pods with its names, env and subdomain.
"""

import asyncio
import copy
import json
import sys
from pathlib import Path

from tests.kube.box.inside import ROOT, box, write_hosts
from tests.kube.cluster import Cluster, until
from tests.operator.builders import LWS

from tandem.core.paths import at
from tandem.operator.api import ApiError, url_of
from tandem.operator.types import Raw

NAME = "ranks-engine"


async def main(folder: Path) -> None:
    write_hosts({})
    async with box(folder) as cluster:
        playing = asyncio.create_task(controller(cluster))
        await cluster.group("ranks", role())
        await until(lambda: is_ready(cluster), lambda: cluster.condition("RoleBasedGroup", "ranks"), limit_s=90)
        playing.cancel()
        told = [json.loads(line) for line in logged(folder)]
        assert sorted((one["names"][0], one["rank"]) for one in told) == [
            (f"{NAME}-{group}.{NAME}", rank) for group in (0, 1) for rank in (0, 1, 2)
        ]
        assert all(one["ranks"] == [0, 1, 2] for one in told)
    print(json.dumps({"ranks": len(told), "ready": True}), flush=True)


def logged(folder: Path) -> list[str]:
    """What the ranks have said."""
    return [line for path in folder.glob("node/pods/*/logs/main.log") for line in path.read_text().splitlines()]


def role() -> Raw:
    python = f"PYTHONPATH={ROOT} exec {ROOT}/.venv/bin/python -m tests.kube.box.rank"
    probe = {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1}
    container = {"name": "main", "image": "engine", "command": ["sh", "-c", python], "readinessProbe": probe}
    template = {"spec": {"containers": [container]}}
    return {"name": "engine", "replicas": 2, "workload": LWS, "leaderWorkerSet": {"size": 3}, "template": template}


async def is_ready(cluster: Cluster) -> bool:
    return (await cluster.condition("RoleBasedGroup", "ranks")).get("status") == "True"


async def controller(cluster: Cluster) -> None:
    """What LeaderWorkerSet's controller does for a new object: pods, and a status from what they say."""
    while True:
        found = await cluster.get("LeaderWorkerSet", NAME)
        if found is not None:
            for group in range(found["spec"]["replicas"]):
                for rank in range(found["spec"]["leaderWorkerTemplate"]["size"]):
                    await make(cluster, found, group, rank)
            await report(cluster, found)
        await asyncio.sleep(0.5)


async def make(cluster: Cluster, lws: Raw, group: int, rank: int) -> None:
    wish = lws["spec"]["leaderWorkerTemplate"]
    leader = f"{NAME}-{group}"
    name = leader if rank == 0 else f"{leader}-{rank}"
    template = copy.deepcopy(wish["leaderTemplate" if rank == 0 else "workerTemplate"])
    marks = {"name": NAME, "group-index": str(group), "worker-index": str(rank)}
    labels = {f"leaderworkerset.sigs.k8s.io/{key}": value for key, value in marks.items()}
    env = {
        "LWS_LEADER_ADDRESS": f"{leader}.{NAME}.{cluster.namespace}",
        "LWS_GROUP_SIZE": str(wish["size"]),
        "LWS_WORKER_INDEX": str(rank),
    }
    spec = {**template["spec"], "hostname": name, "subdomain": NAME}
    for container in spec["containers"]:
        container["env"] = [*({"name": k, "value": v} for k, v in env.items()), *container.get("env", [])]
    metadata = {"name": name, "labels": {**template["metadata"]["labels"], **labels}}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    try:
        await cluster.api.create(url_of("Pod", cluster.namespace), body)
    except ApiError as error:
        if error.status != 409:
            raise


async def report(cluster: Cluster, lws: Raw) -> None:
    pods = (await cluster.api.request("GET", url_of("Pod", cluster.namespace)))["items"]
    ready: dict[str, int] = {}
    for pod in pods:
        holds = any(c["type"] == "Ready" and c["status"] == "True" for c in at(pod, "status", "conditions", default=[]))
        group = pod["metadata"]["labels"]["leaderworkerset.sigs.k8s.io/group-index"]
        ready[group] = ready.get(group, 0) + holds
    wish = lws["spec"]
    whole = sum(count == wish["leaderWorkerTemplate"]["size"] for count in ready.values())
    available = "True" if whole == wish["replicas"] else "False"
    counts = {"replicas": len(ready), "readyReplicas": whole, "updatedReplicas": len(ready)}
    status = {"status": {**counts, "conditions": [{"type": "Available", "status": available}]}}
    await cluster.api.patch(f"{url_of('LeaderWorkerSet', cluster.namespace, NAME)}/status", status)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[2])))
