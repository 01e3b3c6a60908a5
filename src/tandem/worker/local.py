"""Prefill and decode on one engine, noted for the story.

A token takes the short way out where it can: `take` sends it to the caller from where it arises, past every generator
between the engine and the connection. What `take` refuses, and what is not a mere token, is yielded.
"""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from tandem.core.request import GenerateOutput, GenerateRequest
from tandem.engines.ports import Engine, Outputs, Take
from tandem.errors import EngineFailed
from tandem.observe import stages
from tandem.worker.notes import Notes

_STOPPED = "the engine's stream stopped without a finish reason"


async def generate_here(
    engine: Engine, request: GenerateRequest, notes: Notes, take: Take
) -> AsyncGenerator[GenerateOutput, None]:
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
        async with aclosing(noted_decode(first, outputs, notes, take)) as noted:
            async for output in noted:
                yield output


async def noted_decode(
    first: GenerateOutput, rest: Outputs[GenerateOutput], notes: Notes, take: Take
) -> AsyncGenerator[GenerateOutput, None]:
    """`first` and the rest, less what is taken, with the decode stage noted before the output that finishes them."""
    at, begun, tokens = time.time(), time.monotonic(), len(first.token_ids)

    def counted(output: GenerateOutput) -> bool:
        nonlocal tokens
        if not take(output):
            return False
        tokens += len(output.token_ids)
        return True

    last = first
    while last.finish_reason is None:
        yield last
        last = await _refused(rest, counted)
        tokens += len(last.token_ids)
    notes.add(stages.DECODE, at=at, duration_s=time.monotonic() - begun, output_tokens=tokens)
    yield last


async def next_output(outputs: Outputs[GenerateOutput]) -> GenerateOutput:
    """The next output of an answer that is not finished. A stream that just stops is a broken engine."""
    async for output in outputs:
        return output
    raise EngineFailed(_STOPPED)


async def _refused(outputs: Outputs[GenerateOutput], take: Take) -> GenerateOutput:
    """The next output that is not taken: the last one, or one that `take` refuses."""
    if (relay := getattr(outputs, "relay", None)) is not None:  # see `RelayedOutputs`
        await relay(take)
        return await next_output(outputs)
    async for output in outputs:
        if output.finish_reason is not None or not take(output):
            return output
    raise EngineFailed(_STOPPED)
