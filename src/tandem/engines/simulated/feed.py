"""A queue from the engine's step to the one who reads a sequence's outputs: filled and read once per token."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Feed(Generic[T]):
    """Without a bound of its own: a sequence has at most `max_tokens` outputs."""

    __slots__ = ("_items", "_loop", "_waiter")

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._loop = asyncio.get_running_loop()  # asyncio.Queue looks it up, with a system call, whenever it waits
        self._waiter: asyncio.Future[None] | None = None

    def put(self, item: T) -> None:
        """Add one."""
        self._items.append(item)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def get(self) -> T:
        """The next one."""
        while not self._items:
            self._waiter = self._loop.create_future()
            await self._waiter
        return self._items.popleft()
