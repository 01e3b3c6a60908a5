"""Background tasks of a built-in service."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Tasks:
    """Tasks that should never end by themselves: `ended` returns when one does, with the reason."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def add(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Start one."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._over)
        self._tasks.append(task)

    async def ended(self) -> str:
        """Why one of them ended."""
        return await asyncio.shield(self._ended)

    async def cancel(self) -> None:
        """End them all. Safe to repeat."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _over(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and not self._ended.done():
            self._ended.set_result(f"task {task.get_name()} ended: {task.exception()!r}")
