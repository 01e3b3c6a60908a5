"""The port of `tandem.deploy` to a cluster, on the operator's client of the API server."""

from collections.abc import Sequence
from typing import Any

from tandem.deploy.objects import MANAGER, Object
from tandem.deploy.ports import Forbidden, Refused
from tandem.errors import Unavailable
from tandem.operator.api import APPLY, STRANGE, Api, ApiError

_PAGE = "500"
"""Objects that one answer may hold; the server says where to go on."""


class KubeCluster:
    """One API server. Which kinds there are, and how their paths are spelt, is asked of the server itself."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._kinds: dict[str, dict[str, Any]] = {}

    async def minor(self) -> int:
        found = await self._request("GET", "/version")
        digits = "".join(filter(str.isdigit, str(found.get("minor", ""))))
        if not digits:
            raise self._strange()
        return int(digits)

    async def serves(self, api: str, kind: str) -> bool:
        return kind in await self._of(api)

    async def get(self, item: Object) -> Object | None:
        if not await self.serves(item["apiVersion"], item["kind"]):
            return None
        try:
            return await self._request("GET", await self._path(item))
        except Refused as error:
            if error.status == 404:
                return None
            raise

    async def apply(self, item: Object, *, dry_run: bool) -> Object:
        params = {"fieldManager": MANAGER, "force": "true"} | ({"dryRun": "All"} if dry_run else {})
        return await self._request("PATCH", await self._path(item), item, params=params, content=APPLY)

    async def create(self, item: Object) -> None:
        path = await self._collection(item["apiVersion"], item["kind"], item["metadata"].get("namespace"))
        await self._request("POST", path, item, params={"fieldManager": MANAGER})

    async def delete(self, item: Object) -> None:
        body: Object = {"propagationPolicy": "Background"}
        if uid := item["metadata"].get("uid"):
            body["preconditions"] = {"uid": uid}
        try:
            await self._request("DELETE", await self._path(item), body)
        except Refused as error:
            if error.status not in (404, 409):
                raise

    async def listed(self, api: str, kind: str, namespace: str | None, selector: str = "") -> Sequence[Object]:
        if not await self.serves(api, kind):
            return []
        params = {"limit": _PAGE} | ({"labelSelector": selector} if selector else {})
        path, items = await self._collection(api, kind, namespace), list[Object]()
        while True:
            found = await self._request("GET", path, params=params)
            try:
                items += found["items"]
                token = found["metadata"].get("continue")
            except (AttributeError, KeyError, TypeError) as error:
                raise self._strange() from error
            if not token:
                return items
            params = {**params, "continue": token}

    async def log(self, namespace: str, pod: str, container: str, *, previous: bool) -> str:
        params = {"container": container, "tailLines": "60", "previous": str(previous).lower()}
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        try:
            return await self._api.text(path, params=params)
        except ApiError:
            return ""  # what cannot be read tells nothing; the other signs remain

    async def _of(self, api: str) -> dict[str, Any]:
        """kind → what the server's discovery says about it."""
        if api not in self._kinds:
            try:
                found = await self._request("GET", "/api/v1" if api == "v1" else f"/apis/{api}")
            except Refused as error:
                if error.status != 404:
                    raise
                found = {"resources": []}
            try:
                plain = [each for each in found["resources"] if "/" not in each["name"]]
                self._kinds[api] = {each["kind"]: each for each in plain}
            except (KeyError, TypeError) as error:
                raise self._strange() from error
        return self._kinds[api]

    async def _collection(self, api: str, kind: str, namespace: str | None) -> str:
        about = (await self._of(api)).get(kind)
        if about is None:
            raise Refused(404, f"this cluster does not know {kind} of {api}")
        root = "/api/v1" if api == "v1" else f"/apis/{api}"
        middle = f"/namespaces/{namespace}" if about["namespaced"] and namespace else ""
        return f"{root}{middle}/{about['name']}"

    async def _path(self, item: Object) -> str:
        metadata = item["metadata"]
        return (
            f"{await self._collection(item['apiVersion'], item['kind'], metadata.get('namespace'))}/{metadata['name']}"
        )

    async def _request(self, method: str, path: str, body: Any = None, **more: Any) -> Object:
        try:
            return await self._api.request(method, path, body, **more)
        except ApiError as error:
            if error.reason == STRANGE:
                raise self._strange() from error
            if error.status == 0:
                raise Unavailable(f"{self._api.access.server} does not answer: {error}") from error
            kind = Forbidden if error.status == 403 else Refused
            raise kind(error.status, str(error)) from error

    def _strange(self) -> Unavailable:
        server = self._api.access.server
        return Unavailable(
            f"{server} answers, but not as an API server does; look at the kubeconfig, and at a proxy on the way"
        )
