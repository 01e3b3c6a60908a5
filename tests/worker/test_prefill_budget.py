"""A prefill worker takes jobs while its budget of uncached tokens lasts, and none beyond it."""

import asyncio
from typing import Any
from unittest.mock import Mock

from tandem.worker.load import Activity
from tandem.worker.prefill import PrefillLimits, PrefillWorker


class Worker(PrefillWorker):
    """Its jobs last until told."""

    def __init__(self, token_budget: int) -> None:
        nothing: Any = Mock()
        super().__init__(
            nothing,
            nothing,
            queue=nothing,
            lanes=nothing,
            limits=PrefillLimits(token_budget=token_budget),
            activity=Activity(),
        )
        self.over: dict[int, asyncio.Event] = {}

    async def _work(self, taken: Any) -> None:
        await self.over.setdefault(taken.job.request.prompt_tokens, asyncio.Event()).wait()

    def start(self, prompt_tokens: int) -> None:
        """Take a job."""
        taken: Any = Mock()
        taken.job.request.prompt_tokens, taken.job.cached_tokens = prompt_tokens, 0
        self._start(taken)

    async def end(self, prompt_tokens: int) -> None:
        """End that job."""
        await asyncio.sleep(0)
        self.over[prompt_tokens].set()
        for _ in range(3):
            await asyncio.sleep(0)

    @property
    def has_room(self) -> bool:
        """Whether it would take another job."""
        return self._room.is_set()


async def test_a_small_jobs_end_makes_no_room_beside_a_long_one() -> None:
    worker = Worker(token_budget=100)
    worker.start(10)
    assert worker.has_room
    worker.start(1000)
    assert not worker.has_room
    await worker.end(10)
    assert not worker.has_room
    await worker.end(1000)
    assert worker.has_room
