"""A bounded queue between code that never waits and one reader that does."""

import asyncio
from collections import deque
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Filled without waiting, read with `async for`; over `limit` unread the oldest are dropped and counted."""

    def __init__(self, limit: int) -> None:
        self.dropped = 0
        self.limit = limit
        self._items: deque[T] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Add, dropping the oldest when full. Ignored once closed."""
        if self._closed:
            return
        if len(self._items) >= self.limit:
            self._items.popleft()
            self.dropped += 1
        self._items.append(item)
        self._wake()

    def clear(self) -> None:
        """Forget what was not read."""
        self._items.clear()

    def close(self) -> None:
        """The reader ends after what is there."""
        self._closed = True
        self._wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._closed:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._items.popleft()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
