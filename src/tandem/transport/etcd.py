"""The store on etcd v3, 3.4 and newer. Talks to its HTTP/JSON gateway; see `etcd_gateway.py`."""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager

from tandem.errors import LeaseLost, ServingError, Unavailable
from tandem.transport.etcd_gateway import EtcdGateway, Json, from_wire, prefix_range, to_wire
from tandem.transport.lease import KeptLease, noting_loss
from tandem.transport.outage_log import OutageLog
from tandem.transport.ports import Lease, StoreEvent
from tandem.transport.settings import EtcdSettings

log = logging.getLogger(__name__)

_RETRY_S = 0.2
_LONGEST_RETRY_S = 1.0


class EtcdStore:
    """Implements `ports.Store`. Nothing is opened before the first call; etcd may come later than we."""

    def __init__(self, settings: EtcdSettings) -> None:
        self._gateway = EtcdGateway(settings)
        self._probe_interval_s = settings.probe_interval_s
        self._leases: set[KeptLease] = set()
        self._closed = False

    async def grant(self, ttl_s: float) -> KeptLease:
        # etcd counts whole seconds and raises short ones to its own least, about 1.5 election time-outs.
        answer = await self._gateway.ask("/v3/lease/grant", {"TTL": str(math.ceil(ttl_s))}, repeatable=False)
        lease = KeptLease(int(answer["ID"]), float(answer["TTL"]), self._renew, self._revoke)
        self._leases.add(lease)
        return lease

    async def put(self, key: str, value: bytes, *, lease: Lease | None = None) -> None:
        with noting_loss(lease):
            await self._gateway.ask("/v3/kv/put", _put(key, value, lease))

    async def create(self, key: str, value: bytes, *, lease: Lease | None = None) -> bool:
        absent = {"key": to_wire(key), "target": "CREATE", "result": "EQUAL", "create_revision": "0"}
        body = {"compare": [absent], "success": [{"request_put": _put(key, value, lease)}]}
        with noting_loss(lease):
            answer = await self._gateway.ask("/v3/kv/txn", body, repeatable=False)
        return bool(answer.get("succeeded"))

    async def get(self, key: str) -> bytes | None:
        answer = await self._gateway.ask("/v3/kv/range", {"key": to_wire(key)})
        found = answer.get("kvs")
        return from_wire(found[0].get("value", "")) if found else None

    async def get_prefix(self, prefix: str) -> dict[str, bytes]:
        found, _ = await self._list(prefix)
        return found

    async def delete(self, key: str) -> bool:
        answer = await self._gateway.ask("/v3/kv/deleterange", {"key": to_wire(key)}, repeatable=False)
        return int(answer.get("deleted", 0)) > 0

    def watch(self, prefix: str) -> AbstractAsyncContextManager[AsyncIterator[StoreEvent]]:
        return self._watch(prefix)

    async def aclose(self) -> None:
        self._closed = True
        for lease in self._leases:
            lease.stop()
        self._leases.clear()
        await self._gateway.aclose()

    async def _list(self, prefix: str) -> tuple[dict[str, bytes], int]:
        """Keys under `prefix`, sorted, and the revision that they were read at."""
        answer = await self._gateway.ask("/v3/kv/range", prefix_range(prefix))
        pairs = {from_wire(kv["key"]).decode(): from_wire(kv.get("value", "")) for kv in answer.get("kvs", [])}
        return dict(sorted(pairs.items())), int(answer["header"]["revision"])

    async def _renew(self, lease: int) -> bool:
        answer = await self._gateway.ask("/v3/lease/keepalive", {"ID": str(lease)})
        return int(answer.get("result", {}).get("TTL", 0)) > 0

    async def _revoke(self, lease: int) -> None:
        try:
            await self._gateway.ask("/v3/lease/revoke", {"ID": str(lease)})
        except LeaseLost:
            log.debug("etcd.lease_was_over lease=%x", lease)

    # ── watching ─────────────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def _watch(self, prefix: str) -> AsyncIterator[AsyncIterator[StoreEvent]]:
        async with aclosing(self._events(prefix)) as events:
            yield events

    async def _events(self, prefix: str) -> AsyncGenerator[StoreEvent, None]:
        """List, then follow from the revision after it; when following breaks, for whatever reason, begin anew.

        A watch is never resumed at its last revision: an etcd that came back empty counts from 1 again under
        the same cluster id, and would stay silent until it caught up with us.
        """
        told, retry_s = False, _RETRY_S
        outage = OutageLog(log, "etcd.watch", f"prefix={prefix}")
        while not self._closed:
            try:
                found, revision = await self._list(prefix)
                told, retry_s = False, _RETRY_S
                outage.works()
                for key, value in found.items():
                    yield StoreEvent("put", key, value)
                yield StoreEvent("synced")
                async with aclosing(self._follow(prefix, revision + 1)) as events:
                    async for event in events:
                        yield event
            except ServingError as error:
                outage.broken(error.message)
            if self._closed:
                return
            if not told:
                told = True
                yield StoreEvent("outage")
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, _LONGEST_RETRY_S)

    async def _follow(self, prefix: str, revision: int) -> AsyncGenerator[StoreEvent, None]:
        """Changes from `revision` on. Raises `Unavailable` when the stream or etcd itself stops answering."""
        asked = {"create_request": {**prefix_range(prefix), "start_revision": str(revision)}}
        async with aclosing(self._gateway.lines("/v3/watch", asked)) as lines:
            reading: asyncio.Task[Json] | None = None
            try:
                while True:
                    if reading is None:
                        reading = asyncio.ensure_future(anext(lines))
                    done, _ = await asyncio.wait([reading], timeout=self._probe_interval_s)
                    if not done:
                        # Silence is normal on a quiet prefix, and also what a vanished peer sounds like: ask.
                        await self._gateway.ask("/v3/kv/range", {"key": to_wire(prefix or "/"), "count_only": True})
                        continue
                    try:
                        answer = reading.result()
                    except StopAsyncIteration:
                        raise Unavailable("etcd ended the watch") from None
                    reading = None
                    if answer.get("canceled"):
                        why = answer.get("cancel_reason") or f"compacted at {answer.get('compact_revision')}"
                        raise Unavailable(f"etcd cancelled the watch: {why}")
                    for event in answer.get("events", []):
                        yield _event(event)
            finally:
                if reading is not None:
                    reading.cancel()
                    await asyncio.wait([reading])


def _put(key: str, value: bytes, lease: Lease | None) -> Json:
    body = {"key": to_wire(key), "value": to_wire(value)}
    if lease is not None:
        body["lease"] = str(lease.id)
    return body


def _event(event: Json) -> StoreEvent:
    kv = event["kv"]
    key = from_wire(kv["key"]).decode()
    if event.get("type") == "DELETE":
        return StoreEvent("delete", key)
    return StoreEvent("put", key, from_wire(kv.get("value", "")))
