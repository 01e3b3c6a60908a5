"""Several streams as one, in the order in which their items come."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class _End:
    error: Exception | None


def merged(streams: Sequence[AsyncGenerator[Item, None]]) -> AsyncGenerator[Item, None]:
    """Items of all streams. The first failure ends all; closing this closes all.

    One item per stream waits at most: a slow reader slows every stream, and nothing piles up.
    """
    return streams[0] if len(streams) == 1 else _merged(streams)


async def _merged(streams: Sequence[AsyncGenerator[Item, None]]) -> AsyncGenerator[Item, None]:
    queue: asyncio.Queue[Item | _End] = asyncio.Queue(maxsize=len(streams))
    tasks = [asyncio.create_task(_pump(stream, queue)) for stream in streams]
    running = len(tasks)
    try:
        while running:
            got = await queue.get()
            if not isinstance(got, _End):
                yield got
            elif got.error is not None:
                raise got.error
            else:
                running -= 1
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(stream: AsyncGenerator[Item, None], queue: asyncio.Queue[Item | _End]) -> None:
    error = None
    try:
        async for item in stream:
            await queue.put(item)
    except Exception as caught:  # passed on to the reader, who raises it
        error = caught
    finally:
        await stream.aclose()
    await queue.put(_End(error))
