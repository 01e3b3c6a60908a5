"""Keeps one kind of child up to date in the cache: list, then watch, for ever.

kopf watches our own kinds; the children need a watch that the server filters by label (a cluster has many pods that
are none of ours), and a list that tells what went away while the watch was down.
"""

import asyncio
import logging
import random
from collections.abc import Callable

from tandem.operator.api import Api, ApiError, url_of
from tandem.operator.cache import Cache
from tandem.operator.types import Raw

logger = logging.getLogger(__name__)

Changed = Callable[[str, Raw, bool], None]
"""(kind, object, whether it is gone)"""


class Reflector:
    """One kind, one label selector, one namespace or all.

    Args:
        changed: called after the cache knows of a change.
        absent_poll_s: seconds between looks for a kind that is not installed.
    """

    def __init__(
        self,
        api: Api,
        cache: Cache,
        kind: str,
        changed: Changed,
        *,
        selector: str | None = None,
        namespace: str | None = None,
        api_version: str | None = None,
        absent_poll_s: float = 15.0,
    ) -> None:
        self.kind, self.synced, self.installed = kind, asyncio.Event(), False
        self.api_version = api_version
        self._api, self._cache, self._changed = api, cache, changed
        self._path = url_of(kind, namespace, api_version=api_version)
        self._params = {"labelSelector": selector} if selector else {}
        self._absent_poll_s = absent_poll_s

    async def run(self) -> None:
        """Until cancelled. Trouble is logged once, and then tried again with growing pauses."""
        pause_s = 0.2
        while True:
            try:
                version = await self._list()
                pause_s = 0.2
                while True:
                    version = await self._watch(version)
            except ApiError as error:
                if error.status == 404:
                    if self.installed:
                        self._lose_all()
                    self.installed = False
                    self.synced.set()
                    await asyncio.sleep(self._absent_poll_s)
                    continue
                if error.status not in (0, 410):
                    logger.warning("watch.failed kind=%s status=%s %s", self.kind, error.status, error)
                await asyncio.sleep(pause_s * (0.5 + random.random()))
                pause_s = min(pause_s * 2, 15.0)

    async def refresh(self) -> None:
        """One list; tells of what went, and of what is there."""
        await self._list()

    async def _list(self) -> str:
        params = {**self._params, "limit": "500"}
        items: list[Raw] = []
        while True:
            page = await self._api.request("GET", self._path, params=params)
            head = {"apiVersion": page["apiVersion"], "kind": self.kind}
            items += [{**item, **head} for item in page.get("items") or []]
            if not (more := page["metadata"].get("continue")):
                break
            params["continue"] = more
        for old in self._cache.replace(self.kind, items, self.api_version):
            self._changed(self.kind, old, True)
        self.installed = True
        self.synced.set()
        for item in items:
            self._changed(self.kind, item, False)
        logger.debug("watch.listed kind=%s count=%d", self.kind, len(items))
        return str(page["metadata"]["resourceVersion"])

    async def _watch(self, version: str) -> str:
        async for event in self._api.watch(self._path, {**self._params, "resourceVersion": version}):
            item = event["object"]
            version = item["metadata"]["resourceVersion"]
            metadata = item["metadata"]
            if event["type"] == "BOOKMARK":
                continue
            if event["type"] == "DELETED":
                self._cache.drop(self.kind, metadata.get("namespace", ""), metadata["name"], uid=metadata.get("uid"))
                self._changed(self.kind, item, True)
            else:
                self._cache.put(self.kind, item)
                self._changed(self.kind, item, False)
        return version

    def _lose_all(self) -> None:
        for old in self._cache.replace(self.kind, [], self.api_version):
            self._changed(self.kind, old, True)
