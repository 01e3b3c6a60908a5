"""Router as a service: the room `tandem.router` wired to settings.

A processor of the same process calls the router itself; the endpoints are for processors elsewhere (`far.py`).
"""

import logging
from collections.abc import AsyncIterator

from tandem.core.routing import RouteChoice, RouteRequest
from tandem.graph.askers import Askers
from tandem.graph.built_in import WithTasks, new_tasks
from tandem.graph.context import dynamo_context
from tandem.graph.declare import async_on_shutdown, async_on_start, endpoint
from tandem.graph.routers import made_router
from tandem.settings import ProcessorSettings, RouterSettings

log = logging.getLogger(__name__)


class RouterService(WithTasks):
    """Wires `tandem.router`: one rule over the loads that workers report."""

    @async_on_start
    async def start(self) -> None:
        """Listen to the workers' reports."""
        settings: RouterSettings = dynamo_context["settings"][RouterSettings]
        processor: ProcessorSettings = dynamo_context["others"](ProcessorSettings)
        import asyncio

        self.tasks = new_tasks()
        self.askers = Askers()
        self.closing = asyncio.Event()
        name = settings.custom_router or processor.router
        self.router = made_router(name, self.tasks, settings, processor.component)

    @endpoint()
    async def choose(self, request: RouteRequest) -> AsyncIterator[RouteChoice]:
        """Which instance takes a request."""
        self.askers.asked(request.asker, request.request_id)
        yield await self.router.choose(request)

    @endpoint()
    async def prefilled(self, request_id: str) -> AsyncIterator[bool]:
        """A request's first token has come."""
        self.router.prefilled(request_id)
        yield True

    @endpoint()
    async def finished(self, request_id: str) -> AsyncIterator[bool]:
        """A request is over."""
        self.askers.over(request_id)
        self.router.finished(request_id)
        yield True

    @endpoint()
    async def accompany(self, asker: str) -> AsyncIterator[bool]:
        """A line that an asker holds open as long as it lives: when its last one breaks, its requests are over."""
        self.askers.came(asker)
        try:
            yield True
            await self.closing.wait()
        finally:
            lost = self.askers.went(asker)
            for request_id in lost:
                self.router.finished(request_id)
            if lost:
                log.info("router.asker_lost asker=%s requests=%d", asker, len(lost))

    @async_on_shutdown
    async def stop(self) -> None:
        """Let go of those who ask, stop listening."""
        self.closing.set()
        await self.tasks.cancel()
