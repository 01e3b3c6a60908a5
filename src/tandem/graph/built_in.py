"""What the built-in front services have in common: tasks beside their requests, and stories of these."""

from typing import TYPE_CHECKING

from tandem.graph.context import dynamo_context
from tandem.graph.declare import Linkable, trace, wait_dead

if TYPE_CHECKING:  # asyncio takes a quarter of the time that `--dry-run` has
    from tandem.graph.tasks import Tasks


def new_tasks() -> "Tasks":
    """None yet."""
    from tandem.graph.tasks import Tasks

    return Tasks()


class WithTasks(Linkable):
    """A service that dies when one of its tasks does. Its start sets `tasks`."""

    tasks: "Tasks"

    @wait_dead
    async def dead(self) -> str:
        """A task that must not end ended."""
        return await self.tasks.ended()


class WithStories(Linkable):
    """A service that can tell how a response was made."""

    @trace
    def story(self, request_id: str) -> bytes | None:
        """How a response was made."""
        story: bytes | None = dynamo_context["stories"].json(request_id)
        return story
