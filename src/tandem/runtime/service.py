"""A process's connection to the planes: `connect()` opens it, `aclose()` takes it down in order.

start  planes → listen → (engine is loaded) → announce
stop   withdraw → drain → close connections → revoke → close planes
"""

import asyncio
import logging
import secrets
from collections.abc import Coroutine
from typing import Any, TypeVar

from tandem.core.cards import InstanceCard
from tandem.runtime.calls import TypedAnswers, TypedHandler, encoded, typed_handler
from tandem.runtime.planes import Planes, open_planes, request_server
from tandem.runtime.registry import Announcements, KeptRegistration
from tandem.runtime.settings import PlaneSettings
from tandem.runtime.view import LiveView
from tandem.transport.ports import CallStream
from tandem.transport.tcp import TcpRequestClient, TcpRequestServer

log = logging.getLogger(__name__)

Req = TypeVar("Req")
Resp = TypeVar("Resp")

ROOT = "/tandem/v1"
_STEP_TIMEOUT_S = 1.5
"""Longest wait for one step of the stop that talks to a server. Two of them do, so a stop stays within the
supervisor's own patience also when the store is away. Seconds."""


async def connect(settings: PlaneSettings) -> "ConnectedRuntime":
    """Open the planes and listen for calls. Servers that are not up yet are waited for by whoever needs them.

    Raises: `ConfigError` when the settings name no usable planes, `Unavailable` when the port is taken.
    """
    instance_id = secrets.token_hex(8)
    planes = await open_planes(settings)
    try:
        server = await request_server(settings, instance_id)
        await server.start()
    except BaseException:
        for plane in (planes.bus, planes.store, planes.spare):
            if plane is not None:
                await plane.aclose()
        raise
    log.info("runtime.connected instance=%s address=%s %s", instance_id, server.address, planes.described)
    return ConnectedRuntime(settings, instance_id, planes, server)


class ConnectedRuntime:
    """Implements `ports.Runtime`."""

    def __init__(self, settings: PlaneSettings, instance_id: str, planes: Planes, server: TcpRequestServer) -> None:
        self.namespace = settings.namespace
        self.instance_id = instance_id
        self.store = planes.store
        self.bus = planes.bus
        self.server = server
        self.client = TcpRequestClient(settings.requests)
        self._settings = settings
        self._stores = [planes.store] if planes.spare is None else [planes.store, planes.spare]
        self._announced = Announcements(self._stores, ttl_s=settings.lease_ttl_s)
        self._views: dict[tuple[str, str], LiveView] = {}
        self._stopping: asyncio.Task[None] | None = None

    def serve(
        self,
        endpoint: str,
        request_type: type[Req],
        response_type: type[Resp],
        handler: TypedHandler[Req, Resp],
        *,
        to_the_end: bool = False,
    ) -> None:
        """Answer calls of `endpoint` with what the async generator `handler` yields."""
        self.server.register(endpoint, typed_handler(request_type, handler), to_the_end=to_the_end)

    async def announce(self, card: InstanceCard) -> KeptRegistration:
        key = f"{ROOT}/{card.namespace}/{card.component}/{card.instance_id}"
        return await self._announced.announce(key, card)

    def instances(self, component: str, *, namespace: str | None = None) -> LiveView:
        where = namespace or self.namespace, component
        if (view := self._views.get(where)) is None:
            view = self._views[where] = LiveView(
                self._stores,
                self.client,
                f"{ROOT}/{where[0]}/{component}/",
                ttl_s=self._settings.lease_ttl_s,
                probe_timeout_s=self._settings.requests.connect_timeout_s,
            )
        return view

    def call(
        self,
        card_or_address: InstanceCard | str,
        endpoint: str,
        request: Req,
        response_type: type[Resp],
        *,
        request_id: str = "",
        deadline: float | None = None,
        headers: dict[str, str] | None = None,
    ) -> TypedAnswers[Resp]:
        """Call an instance. One that is found dead is left out of its component's view."""
        card = card_or_address if isinstance(card_or_address, InstanceCard) else None
        address = card.address if card is not None else str(card_or_address)

        def made() -> Coroutine[Any, Any, CallStream]:
            return self.client.call(
                address, endpoint, encoded(request), request_id=request_id, deadline=deadline, headers=headers
            )

        def lost() -> None:
            view = None if card is None else self._views.get((card.namespace, card.component))
            # A live peer may relay that an instance of its own was lost: then the connection still stands.
            if card is not None and view is not None and not self.client.is_connected(address):
                view.report_lost(card.instance_id)

        return TypedAnswers(made, endpoint, response_type, lost)

    async def aclose(self) -> None:
        """Withdraw what is announced, let running calls end, revoke the lease, close the planes.

        Safe to repeat. Cancelling it stops the wait, not the stop.
        """
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(), name="runtime stop")
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        drain_s = self._settings.drain_timeout_s
        await _bounded("withdraw", self._announced.withdraw_all(), _STEP_TIMEOUT_S)
        await _bounded("drain", self.server.drain(drain_s), drain_s + 1)
        await _bounded("close calls", self.client.aclose(), _STEP_TIMEOUT_S)
        await _bounded("close server", self.server.aclose(), 2 * _STEP_TIMEOUT_S)
        await _bounded("revoke", self._announced.revoke(), _STEP_TIMEOUT_S)
        for view in self._views.values():
            await _bounded("close view", view.aclose(), _STEP_TIMEOUT_S)
        await _bounded("close bus", self.bus.aclose(), _STEP_TIMEOUT_S)
        for store in self._stores:
            await _bounded("close store", store.aclose(), _STEP_TIMEOUT_S)


async def _bounded(step: str, work: Coroutine[Any, Any, None], timeout_s: float) -> None:
    """Run one step of the stop; neither its failure nor its hanging keeps the next one from running."""
    try:
        async with asyncio.timeout(timeout_s):
            await work
    except TimeoutError:
        log.warning("runtime.stop_step_timed_out step=%r timeout_s=%g", step, timeout_s)
    except Exception:
        log.exception("runtime.stop_step_failed step=%r", step)
