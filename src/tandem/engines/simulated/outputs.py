"""From the engine's step to the one who reads a sequence's outputs: a call where they are relayed, else a queue."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, Self, TypeVar

from tandem.core.request import GenerateOutput
from tandem.engines.ports import Take
from tandem.engines.simulated.scheduler import Sequence

Last = TypeVar("Last")


class SequenceOutputs(Generic[Last]):
    """One sequence's outputs, from its start at the first use to the end. Implements `ports.RelayedOutputs`.

    Args:
        make: the sequence. Raises what the engine refuses it with.
        enter: puts it into the engine.
        leave: takes it out, in whatever state it is, and frees what it holds.
        turn: its KV is complete (prefill), or its blocks are taken (decode): what is answered last, or None to go on.
    """

    __slots__ = ("_enter", "_items", "_leave", "_loop", "_make", "_over", "_seq", "_take", "_turn", "_waiter")

    def __init__(
        self,
        make: Callable[[], Sequence],
        *,
        enter: Callable[[Sequence, "SequenceOutputs[Last]"], None],
        leave: Callable[[Sequence], None],
        turn: Callable[[Sequence], Awaitable[Last | None]],
    ) -> None:
        self._make = make
        self._enter = enter
        self._leave = leave
        self._turn = turn
        self._seq: Sequence | None = None
        self._over = False
        self._items: deque[GenerateOutput | Exception | None] = deque()
        """Without a bound of its own: a sequence has at most `max_tokens` outputs."""
        self._take: Take | None = None
        self._loop = asyncio.get_running_loop()  # asyncio.Queue looks it up, with a system call, whenever it waits
        self._waiter: asyncio.Future[None] | None = None

    def put(self, item: GenerateOutput | Exception | None) -> None:
        """What a step brings: an output, how the sequence failed, or None: its turn has come."""
        take, waiter = self._take, self._waiter
        if take is not None:
            if isinstance(item, GenerateOutput) and item.finish_reason is None:
                try:
                    if take(item):
                        return
                except Exception as error:  # the reader's own, so the reader gets it, and the engine goes on
                    if waiter is not None and not waiter.done():
                        waiter.set_exception(error)
            self._take = None
        self._items.append(item)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> GenerateOutput | Last:
        if self._over:
            raise StopAsyncIteration
        try:
            if (seq := self._seq) is None:
                seq = self._make()
                self._enter(seq, self)
                self._seq = seq
            answer: GenerateOutput | Last | None = None
            while answer is None:
                while not self._items:
                    await self._filled()
                item = self._items.popleft()
                if isinstance(item, Exception):
                    raise item
                answer = item or await self._turn(seq)
        except BaseException:
            await self.aclose()
            raise
        if not isinstance(answer, GenerateOutput) or answer.finish_reason is not None:
            await self.aclose()
        return answer

    async def relay(self, take: Take) -> None:
        """See `ports.RelayedOutputs.relay`."""
        assert self._seq is not None, "the first output is read, not relayed"
        items = self._items
        while items:
            item = items[0]
            if not isinstance(item, GenerateOutput) or item.finish_reason is not None or not take(item):
                return
            items.popleft()
        self._take = take
        try:
            await self._filled()
        except asyncio.CancelledError:
            await self.aclose()
            raise
        finally:
            self._take = None

    async def aclose(self) -> None:
        """See `ports.Outputs.aclose`."""
        self._over = True
        seq, self._seq = self._seq, None
        if seq is not None:
            self._leave(seq)

    async def _filled(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
