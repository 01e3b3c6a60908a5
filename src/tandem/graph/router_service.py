"""Router as a service: the room `tandem.router` wired to settings.

A processor of the same process calls the router itself; the endpoints are for processors elsewhere (`far.py`).
"""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from tandem.core.routing import RouteChoice, RouteRequest
from tandem.graph.context import dynamo_context
from tandem.graph.declare import Linkable, async_on_shutdown, async_on_start, endpoint, wait_dead
from tandem.graph.routers import made_router, new_tasks
from tandem.settings import ProcessorSettings, RouterSettings

if TYPE_CHECKING:  # asyncio takes a quarter of the time that `--dry-run` has
    from tandem.graph.tasks import Tasks


class RouterService(Linkable):
    """Wires `tandem.router`: one rule over the loads that workers report."""

    tasks: "Tasks"

    @async_on_start
    async def start(self) -> None:
        """Listen to the workers' reports."""
        settings: RouterSettings = dynamo_context["settings"][RouterSettings]
        processor: ProcessorSettings = dynamo_context["others"](ProcessorSettings)
        self.tasks = new_tasks()
        name = settings.custom_router or processor.router
        self.router = made_router(name, self.tasks, settings, processor.component)

    @endpoint()
    async def choose(self, request: RouteRequest) -> AsyncIterator[RouteChoice]:
        """Which instance takes a request."""
        yield await self.router.choose(request)

    @endpoint()
    async def prefilled(self, request_id: str) -> AsyncIterator[bool]:
        """A request's first token has come."""
        self.router.prefilled(request_id)
        yield True

    @endpoint()
    async def finished(self, request_id: str) -> AsyncIterator[bool]:
        """A request is over."""
        self.router.finished(request_id)
        yield True

    @async_on_shutdown
    async def stop(self) -> None:
        """Stop listening."""
        await self.tasks.cancel()

    @wait_dead
    async def dead(self) -> str:
        """A task that must not end ended."""
        return await self.tasks.ended()
