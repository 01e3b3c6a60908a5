"""Prefill and decode on one engine, noted for the story."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from tandem.core.request import GenerateOutput, GenerateRequest
from tandem.engines.ports import Engine
from tandem.errors import EngineFailed
from tandem.observe import stages
from tandem.worker.notes import Notes

_STOPPED = "the engine's stream stopped without a finish reason"


async def generate_here(engine: Engine, request: GenerateRequest, notes: Notes) -> AsyncGenerator[GenerateOutput, None]:
    """The engine's outputs; until the first counts as prefill, the rest as decode."""
    begun = time.monotonic()
    async with aclosing(engine.generate(request)) as outputs:
        first = await next_output(outputs)
        notes.add(
            stages.PREFILL,
            duration_s=time.monotonic() - begun,
            site="local",
            prompt_tokens=request.prompt_tokens,
            cached_tokens=first.cached_tokens,
        )
        async with aclosing(noted_decode(first, outputs, notes)) as noted:
            async for output in noted:
                yield output


async def noted_decode(
    first: GenerateOutput, rest: AsyncGenerator[GenerateOutput, None], notes: Notes
) -> AsyncGenerator[GenerateOutput, None]:
    """`first` and the rest, with the decode stage noted before the output that finishes them."""
    at, begun, tokens = time.time(), time.monotonic(), len(first.token_ids)
    last = first
    if first.finish_reason is None:
        yield first
        async for output in rest:
            tokens += len(output.token_ids)
            if output.finish_reason is not None:
                last = output
                break
            yield output
        else:
            raise EngineFailed(_STOPPED)
    notes.add(stages.DECODE, at=at, duration_s=time.monotonic() - begun, output_tokens=tokens)
    yield last


async def next_output(outputs: AsyncGenerator[GenerateOutput, None]) -> GenerateOutput:
    """The next output of an answer that is not finished. A stream that just stops is a broken engine."""
    output = await anext(outputs, None)
    if output is None:
        raise EngineFailed(_STOPPED)
    return output
