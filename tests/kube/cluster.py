"""What the tests do with a cluster: make groups, wait, and play the node that makes pods ready."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tandem.core.paths import at
from tandem.operator.api import JSON_PATCH, Api, ApiError, url_of
from tandem.operator.labels import GROUP
from tandem.operator.types import Raw

READY_POD = {
    "phase": "Running",
    "conditions": [{"type": "Ready", "status": "True"}, {"type": "ContainersReady", "status": "True"}],
}


class Cluster:
    """One namespace of a real API server."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api, self.namespace = api, namespace
        self.held: Callable[[Raw], bool] = lambda pod: False
        """Pods that the node does not make ready."""
        self.asleep = False
        """Whether the node does nothing at all."""

    async def group(self, name: str, *roles: Raw, annotations: dict[str, str] | None = None, **spec: Any) -> Raw:
        """Write a group as a user would; again with the same name changes it."""
        return await self.write("RoleBasedGroup", name, {"roles": list(roles), **spec}, annotations)

    async def write(self, kind: str, name: str, spec: Raw, annotations: dict[str, str] | None = None) -> Raw:
        metadata: Raw = {"name": name, "annotations": annotations or {}}
        if kind != "ClusterEngineRuntimeProfile":
            metadata["namespace"] = self.namespace
        body = {"apiVersion": f"{GROUP}/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
        path = url_of(kind, metadata.get("namespace"), name)
        params = {"fieldManager": "user", "force": "true"}
        return await self.api.request("PATCH", path, body, params=params, content="application/apply-patch+yaml")

    async def get(self, kind: str, name: str) -> Raw | None:
        return await self.api.get(kind, self.namespace, name)

    async def must(self, kind: str, name: str) -> Raw:
        found = await self.get(kind, name)
        assert found is not None, f"{kind} {name} is not there"
        return found

    async def names(self, kind: str) -> list[str]:
        found = await self.api.request("GET", url_of(kind, self.namespace))
        return sorted(item["metadata"]["name"] for item in found["items"])

    async def patch(self, kind: str, name: str, *steps: Raw) -> Raw:
        return await self.api.patch(url_of(kind, self.namespace, name), list(steps), content=JSON_PATCH)

    async def delete(self, kind: str, name: str) -> None:
        await self.api.delete(await self.must(kind, name))

    async def condition(self, kind: str, name: str, wanted: str = "Ready") -> Raw:
        found = await self.get(kind, name)
        generation = at(found, "metadata", "generation")
        for item in at(found, "status", "conditions", default=[]):
            if item["type"] == wanted and item.get("observedGeneration") == generation:
                return dict(item)
        return {}

    async def ready(self, name: str, kind: str = "RoleBasedGroup", *, limit_s: float = 20) -> None:
        """Wait until an object is ready for the generation that it has now."""
        await until(lambda: self._is(kind, name, "True"), lambda: self.condition(kind, name), limit_s)

    async def not_ready(self, name: str, kind: str = "RoleBasedGroup") -> Raw:
        await until(lambda: self._is(kind, name, "False"), lambda: self.condition(kind, name))
        return await self.condition(kind, name)

    async def _is(self, kind: str, name: str, status: str) -> bool:
        return (await self.condition(kind, name)).get("status") == status

    async def events(self, name: str) -> list[str]:
        params = {"fieldSelector": f"involvedObject.name={name}"}
        found = await self.api.request("GET", url_of("Event", self.namespace), params=params)
        ours = [e for e in found["items"] if e.get("reportingComponent") == "tandem-operator"]
        return [item["reason"] for item in sorted(ours, key=lambda e: e["metadata"]["resourceVersion"])]

    async def node(self) -> None:
        """A node without a node: every pod that is not held becomes ready."""
        while True:
            if self.asleep:
                await asyncio.sleep(0.1)
                continue
            found = await self.api.request("GET", url_of("Pod", self.namespace))
            for pod in found["items"]:
                ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
                if not ready and not self.held(pod) and not at(pod, "metadata", "deletionTimestamp"):
                    await self.report(pod["metadata"]["name"], READY_POD)
            await asyncio.sleep(0.1)

    async def report(self, pod: str, status: Raw) -> None:
        try:
            await self.api.patch(f"{url_of('Pod', self.namespace, pod)}/status", {"status": status})
        except ApiError as error:
            if error.status not in (404, 409):
                raise


async def until(
    holds: Callable[[], Awaitable[object]], why: Callable[[], Awaitable[object]] | None = None, limit_s: float = 20
) -> None:
    """Poll until something is so; at the limit, fail with the reason."""
    end = time.monotonic() + limit_s
    while not await holds():
        if time.monotonic() > end:
            raise AssertionError(f"not so after {limit_s} s: {await why() if why else holds}")
        await asyncio.sleep(0.05)
