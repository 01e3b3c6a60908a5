"""What every engine adapter promises. A subclass supplies the fixtures of `EngineContract`.

All tests of a module share two loaded engines, so each leaves them as it found them: idle, nothing pinned.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
import pytest

from tandem.core.handoff import Handoff
from tandem.core.kv_events import AllBlocksCleared, BlockStored, KvEventBatch
from tandem.core.request import GenerateOutput, GenerateRequest, Sampling, TokenLogprobs
from tandem.engines.ports import Engine, Outputs, RelayedOutputs, Take
from tandem.errors import ContextTooLong, EngineFailed, KvTransferFailed, RequestError

_numbers = itertools.count(1)


def a_request(
    prompt: list[int], *, max_tokens: int = 8, cache_salt: str | None = None, **sampling: Any
) -> GenerateRequest:
    """Greedy unless told otherwise."""
    return GenerateRequest(
        request_id=f"req-{next(_numbers)}",
        model="model",
        prompt_token_ids=prompt,
        sampling=Sampling(max_tokens=max_tokens, **{"temperature": 0.0, **sampling}),
        cache_salt=cache_salt,
    )


def a_prompt(length: int) -> list[int]:
    """A prompt that no other call has got: its first block cannot be cached yet."""
    number = next(_numbers)
    return [10 + (number * 37 + i * (7 + number % 11)) % 1500 for i in range(length)]


@dataclass(slots=True)
class Answer:
    """A finished stream."""

    tokens: list[int]
    outputs: list[GenerateOutput]

    @property
    def last(self) -> GenerateOutput:
        return self.outputs[-1]

    @property
    def logprobs(self) -> list[TokenLogprobs]:
        return [entry for output in self.outputs for entry in output.logprobs or []]


async def answer_of(stream: Outputs[GenerateOutput]) -> Answer:
    """Read to the end; exactly the last output has a finish reason."""
    async with contextlib.aclosing(stream):
        outputs = [output async for output in stream]
    assert outputs, "a stream ends with an output or raises"
    assert [output.finish_reason is not None for output in outputs] == [False] * (len(outputs) - 1) + [True]
    return Answer([token for output in outputs for token in output.token_ids], outputs)


def relay_of(outputs: Outputs[GenerateOutput]) -> Callable[[Take], Coroutine[Any, Any, None]]:
    """See `RelayedOutputs`. Skips the test for an engine that hands nothing over itself."""
    if not hasattr(outputs, "relay"):
        pytest.skip("this engine hands nothing over itself")
    return cast(RelayedOutputs, outputs).relay


async def generated(engine: Engine, prompt: list[int], **options: Any) -> Answer:
    return await answer_of(engine.generate(a_request(prompt, **options)))


async def prefilled(
    engine: Engine, request: GenerateRequest, *, first_token: bool
) -> tuple[GenerateOutput | None, Handoff | None]:
    """A prefill's first token and hand-off."""
    first, handoff = None, None
    async with contextlib.aclosing(engine.prefill(request, first_token=first_token)) as stream:
        async for item in stream:
            if isinstance(item, Handoff):
                assert handoff is None
                handoff = item
            else:
                assert first is None
                assert handoff is None
                first = item
    return first, handoff


def continued(request: GenerateRequest, first: GenerateOutput | None) -> GenerateRequest:
    """What the decode side runs: the prompt that the hand-off covers."""
    if first is None:
        return request
    return msgspec.structs.replace(
        request,
        prompt_token_ids=[*request.prompt_token_ids, *first.token_ids],
        sampling=msgspec.structs.replace(request.sampling, max_tokens=request.sampling.max_tokens - 1),
    )


async def is_free(engine: Engine, *, within_s: float = 1.5) -> bool:
    """Whether nothing holds a block: a leak or a pinned hand-off makes `reset_prefix_cache` say no."""
    end = time.monotonic() + within_s
    while not await engine.reset_prefix_cache():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.02)
    return True


@dataclass(slots=True)
class EventLog:
    """Everything that an engine's event stream has said."""

    batches: list[KvEventBatch] = field(default_factory=list)

    async def collect(self, engine: Engine) -> None:
        async for batch in engine.kv_events():
            self.batches.append(batch)

    async def until(self, found: Callable[[list[KvEventBatch]], bool], *, within_s: float = 3.0) -> bool:
        end = time.monotonic() + within_s
        while not found(self.batches):
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.02)
        return True


@pytest.mark.asyncio(loop_scope="module")
class EngineContract:
    """Fixtures to supply: `prefiller`, `decoder` (loaded, same geometry), `events` (an EventLog of the decoder),
    `new_engine` (async factory), `kill`, `silenced`, `eos`."""

    # ── one engine ───────────────────────────────────────────────────────────────────────────────

    async def test_the_engine_reports_its_own_facts(self, prefiller: Engine, decoder: Engine) -> None:
        facts = decoder.facts
        assert facts.max_model_len > 0
        assert facts.block_size_tokens > 0
        assert facts.kv_blocks_total > 0
        assert facts.block_bytes > 0
        assert facts.kv_layout
        assert facts.side_channel
        assert prefiller.facts.engine_id != facts.engine_id
        assert prefiller.facts.kv_layout == facts.kv_layout

    async def test_max_tokens_ends_an_answer(self, decoder: Engine) -> None:
        answer = await generated(decoder, a_prompt(21), max_tokens=5, ignore_eos=True)
        assert len(answer.tokens) == 5
        assert answer.last.finish_reason == "length"
        assert answer.last.stop_token_id is None
        assert answer.outputs[0].cached_tokens == 0
        assert all(output.cached_tokens is None for output in answer.outputs[1:])

    async def test_greedy_answers_repeat_and_the_second_finds_its_prefix(self, decoder: Engine) -> None:
        size = decoder.facts.block_size_tokens
        prompt = a_prompt(2 * size + 3)
        one = await generated(decoder, prompt)
        two = await generated(decoder, prompt)
        assert one.tokens == two.tokens
        assert two.outputs[0].cached_tokens == 2 * size

    async def test_salts_keep_caches_apart(self, decoder: Engine) -> None:
        prompt = a_prompt(2 * decoder.facts.block_size_tokens + 3)
        await generated(decoder, prompt, cache_salt="a")
        other = await generated(decoder, prompt, cache_salt="b")
        assert other.outputs[0].cached_tokens == 0

    async def test_another_prompt_gives_another_answer(self, decoder: Engine) -> None:
        prompt = a_prompt(40)
        options = {"max_tokens": 4, "ignore_eos": True, "logprobs": 0}
        one = await generated(decoder, prompt, **options)
        two = await generated(decoder, [*prompt[:-1], prompt[-1] + 1], **options)
        # A small model may say the same to both; it is not equally sure of it.
        assert [(out.token_ids, out.logprobs) for out in one.outputs] != [
            (out.token_ids, out.logprobs) for out in two.outputs
        ]

    async def test_a_seed_repeats_a_sampled_answer(self, decoder: Engine) -> None:
        prompt = a_prompt(30)
        options = {"max_tokens": 12, "temperature": 2.0, "ignore_eos": True}
        one = await generated(decoder, prompt, seed=7, **options)
        two = await generated(decoder, prompt, seed=7, **options)
        other = await generated(decoder, prompt, seed=8, **options)
        assert one.tokens == two.tokens
        assert one.tokens != other.tokens

    async def test_a_stop_token_ends_the_answer_and_is_its_last_token(self, decoder: Engine) -> None:
        prompt = a_prompt(25)
        free = await generated(decoder, prompt, max_tokens=8, ignore_eos=True)
        stop = free.tokens[3]
        end = free.tokens.index(stop) + 1
        answer = await generated(decoder, prompt, max_tokens=8, ignore_eos=True, stop_token_ids=(stop,))
        assert answer.tokens == free.tokens[:end]
        assert (answer.last.finish_reason, answer.last.stop_token_id) == ("stop", stop)

    async def test_the_models_own_end_is_a_stop_with_its_token(self, decoder: Engine, eos: int) -> None:
        answer = await generated(decoder, a_prompt(25), logit_bias={eos: 100.0})
        assert answer.tokens == [eos]
        assert (answer.last.finish_reason, answer.last.stop_token_id) == ("stop", eos)

    async def test_ignore_eos_and_min_tokens_go_on(self, decoder: Engine, eos: int) -> None:
        on = await generated(decoder, a_prompt(25), max_tokens=4, logit_bias={eos: 100.0}, ignore_eos=True)
        assert (on.tokens, on.last.finish_reason, on.last.stop_token_id) == ([eos] * 4, "length", None)
        least = await generated(decoder, a_prompt(25), max_tokens=8, logit_bias={eos: 100.0}, min_tokens=3)
        assert len(least.tokens) == 4
        assert least.last.stop_token_id == eos

    async def test_logprobs_come_one_per_token(self, decoder: Engine) -> None:
        answer = await generated(decoder, a_prompt(25), max_tokens=4, logprobs=3, ignore_eos=True)
        assert len(answer.logprobs) == 4
        for token, entry in zip(answer.tokens, answer.logprobs, strict=True):
            assert entry.rank == 1
            assert entry.top[0] == (token, entry.logprob)
            assert [p for _, p in entry.top] == sorted((p for _, p in entry.top), reverse=True)
            assert len(entry.top) == 3
            assert entry.logprob <= 0

    async def test_logprobs_zero_reports_the_chosen_token_only(self, decoder: Engine) -> None:
        answer = await generated(
            decoder, a_prompt(25), max_tokens=3, logprobs=0, temperature=1.5, seed=3, ignore_eos=True
        )
        assert len(answer.logprobs) == 3
        assert all(entry.top == [] and entry.rank >= 1 for entry in answer.logprobs)
        silent = await generated(decoder, a_prompt(25), max_tokens=3)
        assert all(output.logprobs is None for output in silent.outputs)

    async def test_prompt_logprobs_come_once_one_per_prompt_token(self, decoder: Engine) -> None:
        prompt = a_prompt(25)
        answer = await generated(decoder, prompt, max_tokens=3, prompt_logprobs=2)
        entries = answer.outputs[0].prompt_logprobs
        assert entries is not None
        assert len(entries) == len(prompt)
        assert entries[0] is None
        assert all(entry is not None and len(entry.top) == 2 for entry in entries[1:])
        assert all(output.prompt_logprobs is None for output in answer.outputs[1:])

    async def test_prompts_that_cannot_be_served_are_refused(self, decoder: Engine) -> None:
        with pytest.raises(ContextTooLong):
            await generated(decoder, a_prompt(decoder.facts.max_model_len + 1))
        with pytest.raises(RequestError):
            await generated(decoder, [])
        assert (await generated(decoder, a_prompt(5))).tokens

    async def test_the_context_limit_ends_an_answer_with_length(self, decoder: Engine) -> None:
        limit = decoder.facts.max_model_len
        answer = await generated(decoder, a_prompt(limit - 3), max_tokens=50, ignore_eos=True)
        assert (len(answer.tokens), answer.last.finish_reason) == (3, "length")

    async def test_requests_side_by_side_all_end(self, decoder: Engine) -> None:
        answers = await asyncio.gather(*(generated(decoder, a_prompt(20 + i), ignore_eos=True) for i in range(6)))
        assert [len(answer.tokens) for answer in answers] == [8] * 6
        await self.assert_idle(decoder)

    async def test_resetting_the_prefix_cache_forgets_prompts(self, decoder: Engine) -> None:
        prompt = a_prompt(2 * decoder.facts.block_size_tokens + 1)
        await generated(decoder, prompt)
        assert await is_free(decoder)
        again = await generated(decoder, prompt)
        assert again.outputs[0].cached_tokens == 0

    # ── two engines ──────────────────────────────────────────────────────────────────────────────

    @pytest.mark.parametrize("first_token", [True, False], ids=["first-token", "kv-only"])
    @pytest.mark.parametrize(("blocks", "more"), [(0, 1), (1, -1), (1, 0), (1, 1), (2, -1), (2, 0), (3, 5)])
    async def test_a_handed_over_prompt_is_answered_as_by_one_engine(
        self, prefiller: Engine, decoder: Engine, blocks: int, more: int, first_token: bool
    ) -> None:
        request = a_request(a_prompt(blocks * decoder.facts.block_size_tokens + more), max_tokens=6, ignore_eos=True)
        first, handoff = await prefilled(prefiller, request, first_token=first_token)
        assert handoff is not None
        assert (first is not None) == first_token
        assert handoff.num_tokens == request.prompt_tokens + first_token
        rest = await answer_of(decoder.decode(continued(request, first), handoff))
        alone = await answer_of(prefiller.generate(request))
        assert [*(first.token_ids if first else []), *rest.tokens] == alone.tokens
        assert rest.last.finish_reason == "length"
        assert await is_free(prefiller)
        await self.assert_idle(prefiller)

    async def test_both_sides_use_their_own_prefix_hits(self, prefiller: Engine, decoder: Engine) -> None:
        prompt = a_prompt(3 * decoder.facts.block_size_tokens + 5)
        alone = await generated(prefiller, prompt, ignore_eos=True)
        await generated(decoder, prompt[: 2 * decoder.facts.block_size_tokens + 1])
        before = decoder.transfer_totals()
        for _ in range(2):
            request = a_request(prompt, ignore_eos=True)
            first, handoff = await prefilled(prefiller, request, first_token=True)
            assert first is not None
            assert handoff is not None
            rest = await answer_of(decoder.decode(continued(request, first), handoff))
            assert [*first.token_ids, *rest.tokens] == alone.tokens
        assert await is_free(prefiller)
        await asyncio.sleep(0.05)
        moved = decoder.transfer_totals().kv_bytes - before.kv_bytes
        assert 0 < moved <= 6 * decoder.facts.block_bytes

    async def test_an_answer_of_one_token_needs_no_handoff(self, prefiller: Engine) -> None:
        request = a_request(a_prompt(30), max_tokens=1, ignore_eos=True)
        first, handoff = await prefilled(prefiller, request, first_token=True)
        assert handoff is None
        assert first is not None
        assert (len(first.token_ids), first.finish_reason) == (1, "length")
        assert await is_free(prefiller)

    async def test_an_end_at_the_first_token_needs_no_handoff(self, prefiller: Engine, eos: int) -> None:
        for sampling in ({"logit_bias": {eos: 100.0}}, {"logit_bias": {77: 100.0}, "stop_token_ids": (77,)}):
            first, handoff = await prefilled(prefiller, a_request(a_prompt(30), **sampling), first_token=True)
            assert handoff is None
            assert first is not None
            assert first.finish_reason == "stop"
            assert first.stop_token_id == first.token_ids[0]
            assert await is_free(prefiller)

    async def test_an_end_at_the_second_token_is_left_to_the_decoder(self, prefiller: Engine, decoder: Engine) -> None:
        prompt = a_prompt(30)
        never_twice: dict[str, Any] = {
            "ignore_eos": True,
            "repetition_penalty": 1000.0,
        }  # whatever the weights would say
        free = await generated(prefiller, prompt, **never_twice)
        stop = next(token for token in free.tokens if token != free.tokens[0])
        request = a_request(prompt, **never_twice, stop_token_ids=(stop,))
        first, handoff = await prefilled(prefiller, request, first_token=True)
        assert handoff is not None
        rest = await answer_of(decoder.decode(continued(request, first), handoff))
        assert (rest.last.finish_reason, rest.last.stop_token_id) == ("stop", stop)
        assert [free.tokens[0], *rest.tokens] == free.tokens[: free.tokens.index(stop) + 1]
        assert await is_free(prefiller)

    async def test_the_first_token_has_its_logprobs(self, prefiller: Engine) -> None:
        request = a_request(a_prompt(30), logprobs=2, ignore_eos=True)
        first, handoff = await prefilled(prefiller, request, first_token=True)
        assert first is not None
        assert first.logprobs is not None
        assert [len(entry.top) for entry in first.logprobs] == [2]
        assert first.cached_tokens == 0
        assert handoff is not None
        await prefiller.release(handoff)
        assert await is_free(prefiller)

    async def test_transfers_are_counted(self, prefiller: Engine, decoder: Engine) -> None:
        before = decoder.transfer_totals()
        request = a_request(a_prompt(3 * decoder.facts.block_size_tokens + 1), ignore_eos=True)
        _, handoff = await prefilled(prefiller, request, first_token=False)
        assert handoff is not None
        await answer_of(decoder.decode(request, handoff))
        await asyncio.sleep(0.05)
        after = decoder.transfer_totals()
        assert after.transfers == before.transfers + 1
        assert after.kv_bytes - before.kv_bytes == 4 * decoder.facts.block_bytes
        assert after.seconds > before.seconds
        assert await is_free(prefiller)

    # ── outputs that an engine hands over itself ─────────────────────────────────────────────────

    async def test_relayed_outputs_are_those_that_iterating_gives(self, decoder: Engine) -> None:
        request = a_request(a_prompt(20), max_tokens=24, ignore_eos=True)
        plain = await answer_of(decoder.generate(request))
        outputs = decoder.generate(request)
        relay = relay_of(outputs)
        tokens = list((await anext(outputs)).token_ids)
        refused: list[int] = []

        def take(output: GenerateOutput) -> bool:
            assert output.finish_reason is None, "the end is read"
            if len(tokens) % 5 == 0 and len(tokens) not in refused:
                refused.append(len(tokens))
                return False
            tokens.extend(output.token_ids)
            return True

        finish = None
        while finish is None:
            await relay(take)
            output = await anext(outputs)
            tokens += output.token_ids
            finish = output.finish_reason
        assert (tokens, finish) == (plain.tokens, plain.last.finish_reason)
        assert refused == [5, 10, 15, 20], "what was refused is what iterating gives next"
        assert await is_free(decoder)

    async def test_what_a_taker_raises_is_raised_where_it_waits_and_the_engine_goes_on(self, decoder: Engine) -> None:
        outputs = decoder.generate(a_request(a_prompt(20), max_tokens=24, ignore_eos=True))
        relay = relay_of(outputs)
        await anext(outputs)

        def take(output: GenerateOutput) -> bool:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await relay(take)
        await outputs.aclose()
        assert await is_free(decoder)
        await answer_of(decoder.generate(a_request(a_prompt(21), max_tokens=2, ignore_eos=True)))

    async def test_cancelling_a_relay_frees_its_blocks(self, decoder: Engine) -> None:
        outputs = decoder.generate(a_request(a_prompt(20), max_tokens=400, ignore_eos=True))
        relay = relay_of(outputs)
        await anext(outputs)
        taken: list[GenerateOutput] = []
        relaying = asyncio.create_task(relay(lambda output: not taken.append(output)))  # type: ignore[func-returns-value]
        while len(taken) < 3:
            await asyncio.sleep(0)
        relaying.cancel()
        await asyncio.gather(relaying, return_exceptions=True)
        assert await is_free(decoder)
        await self.assert_idle(decoder)

    # ── giving up ────────────────────────────────────────────────────────────────────────────────

    async def test_closing_a_running_answer_frees_its_blocks(self, decoder: Engine) -> None:
        stream = decoder.generate(a_request(a_prompt(50), max_tokens=500, ignore_eos=True))
        await anext(stream)
        assert not await decoder.reset_prefix_cache()
        await stream.aclose()
        assert await is_free(decoder)
        await self.assert_idle(decoder)

    async def test_cancelling_a_prefill_frees_its_blocks(self, prefiller: Engine) -> None:
        long = a_request(a_prompt(prefiller.facts.max_model_len - 10), ignore_eos=True)
        task = asyncio.create_task(prefilled(prefiller, long, first_token=True))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await is_free(prefiller)

    async def test_closing_a_prefill_after_its_first_token_frees_its_blocks(self, prefiller: Engine) -> None:
        stream = prefiller.prefill(a_request(a_prompt(30), ignore_eos=True), first_token=True)
        assert isinstance(await anext(stream), GenerateOutput)
        await stream.aclose()
        assert await is_free(prefiller)

    async def test_a_handoff_outlives_its_generator_until_released(self, prefiller: Engine) -> None:
        stream = prefiller.prefill(a_request(a_prompt(30), ignore_eos=True), first_token=False)
        handoff = await anext(stream)
        await stream.aclose()
        assert isinstance(handoff, Handoff)
        assert not await is_free(prefiller, within_s=0.2)
        await prefiller.release(handoff)
        assert await is_free(prefiller)
        await prefiller.release(handoff)

    async def test_closing_a_handed_over_answer_frees_both_sides(self, prefiller: Engine, decoder: Engine) -> None:
        request = a_request(a_prompt(50), max_tokens=400, ignore_eos=True)
        first, handoff = await prefilled(prefiller, request, first_token=True)
        assert handoff is not None
        stream = decoder.decode(continued(request, first), handoff)
        await anext(stream)
        await stream.aclose()
        assert await is_free(decoder)
        assert await is_free(prefiller)

    async def test_closing_a_decode_that_waits_for_kv_frees_its_blocks(
        self, prefiller: Engine, decoder: Engine, silenced: Callable[[Handoff, int], Handoff]
    ) -> None:
        writers: list[asyncio.StreamWriter] = []
        server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
        async with server:
            request = a_request(a_prompt(50), ignore_eos=True)
            _, handoff = await prefilled(prefiller, request, first_token=False)
            assert handoff is not None
            lost = silenced(handoff, server.sockets[0].getsockname()[1])
            task = asyncio.create_task(answer_of(decoder.decode(request, lost)))
            await asyncio.sleep(0.2)
            assert not task.done()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await is_free(decoder)
            for writer in writers:
                writer.close()
        await prefiller.release(handoff)
        assert await is_free(prefiller)

    # ── hand-offs that must not be read ──────────────────────────────────────────────────────────

    async def test_a_handoff_is_read_at_most_once(self, prefiller: Engine, decoder: Engine) -> None:
        request = a_request(a_prompt(30), ignore_eos=True)
        _, handoff = await prefilled(prefiller, request, first_token=False)
        assert handoff is not None
        await answer_of(decoder.decode(request, handoff))
        with pytest.raises(KvTransferFailed):
            await answer_of(decoder.decode(request, handoff))
        assert await is_free(prefiller)

    async def test_a_handoff_that_does_not_fit_is_refused(self, prefiller: Engine, decoder: Engine) -> None:
        request = a_request(a_prompt(30), ignore_eos=True)
        _, handoff = await prefilled(prefiller, request, first_token=False)
        assert handoff is not None
        replace = msgspec.structs.replace
        prompt = request.prompt_token_ids
        other_prompts = [prompt[:-1], [*prompt, 11], [*prompt[:-1], prompt[-1] + 1]]
        attempts = [(replace(request, prompt_token_ids=tokens), handoff) for tokens in other_prompts]
        attempts += [
            (request, replace(handoff, expires_at=time.time() - 1)),
            (request, replace(handoff, opaque={})),
            (request, replace(handoff, engine="another")),
            (request, replace(handoff, direction="push")),
        ]
        for wrong_request, wrong_handoff in attempts:
            with pytest.raises(KvTransferFailed):
                await answer_of(decoder.decode(wrong_request, wrong_handoff))
        assert (await answer_of(decoder.decode(request, handoff))).tokens, "a refused reading does not use it up"
        assert await is_free(prefiller)

    async def test_our_deadline_lies_well_inside_the_lease(self, prefiller: Engine, lease_s: float) -> None:
        _, handoff = await prefilled(prefiller, a_request(a_prompt(30)), first_token=False)
        assert handoff is not None
        assert 0 < handoff.expires_at - time.time() < 0.7 * lease_s
        await prefiller.release(handoff)
        assert await is_free(prefiller)

    # ── what the world is told ───────────────────────────────────────────────────────────────────

    async def test_events_tell_of_full_blocks_in_order(self, decoder: Engine, events: EventLog) -> None:
        size = decoder.facts.block_size_tokens
        prompt = a_prompt(3 * size + 2)
        await generated(decoder, prompt, max_tokens=2)

        def stored(batches: list[KvEventBatch]) -> list[BlockStored]:
            all_events = [event for batch in batches for event in batch.events]
            return [event for event in all_events if isinstance(event, BlockStored)]

        def chain(batches: list[KvEventBatch]) -> tuple[list[int], list[int]]:
            tokens, parents, tip = [], [], None
            for event in stored(batches):
                if event.token_ids[:size] == prompt[:size] or (
                    tip is not None and event.parent_engine_block_hash == tip
                ):
                    tokens += event.token_ids
                    parents.append(event.parent_engine_block_hash or 0)
                    tip = event.engine_block_hashes[-1]
            return tokens, parents

        assert await events.until(lambda batches: len(chain(batches)[0]) >= 3 * size)
        assert chain(events.batches)[0][: 3 * size] == prompt[: 3 * size]
        assert all(event.block_size_tokens == size for event in stored(events.batches))
        assert all(len(event.token_ids) == size * len(event.engine_block_hashes) for event in stored(events.batches))
        assert [batch.seq for batch in events.batches] == list(range(len(events.batches)))

    async def test_events_tell_of_a_reset(self, decoder: Engine, events: EventLog) -> None:
        await generated(decoder, a_prompt(2 * decoder.facts.block_size_tokens))
        seen = len(events.batches)
        assert await is_free(decoder)
        await generated(decoder, a_prompt(5))
        assert await events.until(
            lambda batches: any(
                isinstance(event, AllBlocksCleared) for batch in batches[seen:] for event in batch.events
            )
        )

    async def test_the_load_report_counts_what_runs(self, decoder: Engine) -> None:
        await self.assert_idle(decoder)
        stream = decoder.generate(a_request(a_prompt(50), max_tokens=300, ignore_eos=True))
        await anext(stream)
        await anext(stream)
        busy = decoder.load_report()
        assert busy.running == 1
        assert 0 < busy.kv_blocks_used < busy.kv_blocks_total
        await stream.aclose()
        assert await is_free(decoder)
        await self.assert_idle(decoder)

    async def test_cached_tokens_never_promises_too_much(self, decoder: Engine) -> None:
        prompt = a_prompt(2 * decoder.facts.block_size_tokens + 3)
        assert await decoder.cached_tokens(a_request(prompt)) == 0
        await generated(decoder, prompt)
        assert await decoder.cached_tokens(a_request(prompt)) in (0, 2 * decoder.facts.block_size_tokens)
        for whose in ({"cache_salt": "a tenant"}, {"lora_name": "sql"}):
            other = msgspec.structs.replace(a_request(prompt), **whose)
            assert await decoder.cached_tokens(other) == 0, whose

    # ── death ────────────────────────────────────────────────────────────────────────────────────

    async def test_a_dead_prefill_engine_fails_the_transfer_and_nothing_else(
        self, decoder: Engine, new_engine: Callable[[], Awaitable[Engine]], kill: Callable[[Engine], None]
    ) -> None:
        engine = await new_engine()
        known, unread = a_request(a_prompt(50), ignore_eos=True), a_request(a_prompt(50), ignore_eos=True)
        _, handoff = await prefilled(engine, known, first_token=False)
        assert handoff is not None
        await answer_of(decoder.decode(known, handoff))
        _, handoff = await prefilled(engine, unread, first_token=False)
        assert handoff is not None
        kill(engine)
        assert await asyncio.wait_for(engine.wait_dead(), 5)
        with pytest.raises(KvTransferFailed):
            await asyncio.wait_for(answer_of(decoder.decode(unread, handoff)), 8)
        await engine.aclose()
        assert await is_free(decoder)
        assert (await generated(decoder, unread.prompt_token_ids)).tokens

    async def test_death_ends_every_running_request(
        self, new_engine: Callable[[], Awaitable[Engine]], kill: Callable[[Engine], None]
    ) -> None:
        engine = await new_engine()
        stream = engine.generate(a_request(a_prompt(30), max_tokens=1000, ignore_eos=True))
        await anext(stream)
        kill(engine)
        with pytest.raises(EngineFailed):
            async for _ in stream:
                pass
        assert await asyncio.wait_for(engine.wait_dead(), 5)
        with pytest.raises(EngineFailed):
            await generated(engine, a_prompt(5))
        await engine.aclose()
        await engine.aclose()

    async def assert_idle(self, engine: Engine) -> None:
        """No request and no block in use, at the latest after a moment."""
        end = time.monotonic() + 1
        while (report := engine.load_report()).running or report.waiting or report.kv_blocks_used:
            assert time.monotonic() < end, report
            await asyncio.sleep(0.02)


async def collected(engine: Engine) -> AsyncIterator[EventLog]:
    """Body of an `events` fixture."""
    log = EventLog()
    task = asyncio.create_task(log.collect(engine), name="collect-events")
    yield log
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
