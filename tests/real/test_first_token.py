"""Edges of taking the first token from the prefill worker: real engines answer as one engine would.

Each answer is compared with the same request on one engine. Where the decode engine samples the first token
itself, it computes the prompt's last token anew, alone; prompts here end one token into a block, so that the
engine that is compared with, which has the blocks before it in its cache, does exactly the same sum.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.real.cluster import MODEL, Answer, Nursery, RealCluster, a_real_cluster

from tandem.core.request import Grammar
from tandem.errors import ContextTooLong
from tandem.processor.model import TextModel
from tandem.testing.cluster import a_request

LIMIT = 1024
BLOCK = 32
EOS = 2

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(nursery: Nursery) -> AsyncIterator[RealCluster]:
    async with a_real_cluster(
        nursery, block_size=BLOCK, max_model_len=LIMIT, kv_cache_memory_bytes=32 << 20
    ) as cluster:
        yield cluster


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_is_left(cluster: RealCluster) -> AsyncIterator[None]:
    """No test falls back, loses a transfer, or leaves a block held; the next one meets empty caches."""
    before = await cluster.decode.figures()
    before.fallbacks.pop("context_too_long", None)
    yield
    after = await cluster.decode.figures()
    after.fallbacks.pop("context_too_long", None)  # a refused prompt, refused here too
    assert (after.fallbacks, after.failures) == (before.fallbacks, before.failures)
    assert await cluster.all_free()


def a_prompt(length: int = 3 * BLOCK + 1) -> list[int]:
    return [10 + (length * 37 + i * 29) % 4000 for i in range(length)]


async def both(cluster: RealCluster, **options: Any) -> tuple[Answer, Answer]:
    """The remote answer and the local one, which must be the same."""
    request = a_request(**{"prompt": a_prompt(), "ignore_eos": True, **options})
    remote = await cluster.answer(request)
    local = await cluster.local(request)
    assert remote.stage("prefill_decision").detail == {"site": "remote", "reason": "always"}
    assert remote.said() == local.said()
    assert remote.logprobs == local.logprobs
    return remote, local


# ── answers that end where the prefill worker stands ─────────────────────────────────────────────


async def test_an_answer_of_one_token_is_the_prefill_workers_and_moves_no_kv(cluster: RealCluster) -> None:
    before = await cluster.decode.figures()
    remote, _ = await both(cluster, max_tokens=1)
    assert (len(remote.tokens), remote.finish_reason) == (1, "length")
    assert remote.first_token_from_prefill
    assert "kv_pull" not in remote.stages()
    assert (await cluster.decode.figures()).transfers == before.transfers


async def test_the_end_of_sequence_as_first_token_ends_the_answer_there(cluster: RealCluster) -> None:
    remote, _ = await both(cluster, ignore_eos=False, logit_bias={EOS: 100.0})
    assert remote.said() == ([EOS], "stop", EOS)
    assert "kv_pull" not in remote.stages()


async def test_a_stop_token_as_first_token_ends_the_answer_there(cluster: RealCluster) -> None:
    remote, _ = await both(cluster, logit_bias={77: 100.0}, stop_token_ids=(77,))
    assert remote.said() == ([77], "stop", 77)
    assert "kv_pull" not in remote.stages()


async def test_a_stop_token_as_second_token_is_the_decode_engines(cluster: RealCluster) -> None:
    free = await cluster.local(a_request(prompt=a_prompt(), ignore_eos=True, max_tokens=8))
    stop = next(token for token in free.tokens if token != free.tokens[0])
    remote, _ = await both(cluster, stop_token_ids=(stop,))
    assert remote.first_token_from_prefill
    assert remote.tokens == free.tokens[: free.tokens.index(stop) + 1]
    assert (remote.finish_reason, remote.stop_token_id) == ("stop", stop)


# ── prompts at the limit ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("room", [1, 2, 3])
async def test_a_prompt_near_the_limit_fills_it(cluster: RealCluster, room: int) -> None:
    remote, _ = await both(cluster, prompt=a_prompt(LIMIT - room), max_tokens=8)
    assert (len(remote.tokens), remote.finish_reason) == (room, "length")
    assert remote.first_token_from_prefill == (room > 1), "the prefill engine needs room for a second token"


async def test_the_last_place_before_the_limit_needs_no_kv_when_one_token_is_asked_for(cluster: RealCluster) -> None:
    remote, _ = await both(cluster, prompt=a_prompt(LIMIT - 1), max_tokens=1)
    assert (len(remote.tokens), remote.finish_reason) == (1, "length")
    assert "kv_pull" not in remote.stages()


async def test_a_prompt_that_fills_the_limit_is_refused_on_either_way(cluster: RealCluster) -> None:
    for ask in (cluster.answer, cluster.local):
        with pytest.raises(ContextTooLong) as refused:
            await ask(a_request(prompt=a_prompt(LIMIT)))
        assert str(LIMIT) in refused.value.message


# ── state that counts output tokens stays with the decode engine ─────────────────────────────────


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_seeded_answer_is_the_one_of_a_single_engine(cluster: RealCluster, seed: int) -> None:
    remote, _ = await both(cluster, seed=seed, temperature=1.0, max_tokens=16)
    assert not remote.first_token_from_prefill
    other = await cluster.answer(a_request(prompt=a_prompt(), seed=99, temperature=1.0, max_tokens=16, ignore_eos=True))
    assert other.tokens != remote.tokens


@pytest.mark.parametrize(
    "penalty", [{"presence_penalty": 2.0}, {"frequency_penalty": 2.0}, {"presence_penalty": -1, "logprobs": 2}]
)
async def test_penalties_count_every_output_token(cluster: RealCluster, penalty: dict[str, Any]) -> None:
    remote, _ = await both(cluster, max_tokens=16, **penalty)
    assert not remote.first_token_from_prefill


async def test_a_repetition_penalty_counts_prompt_and_output_alike(cluster: RealCluster) -> None:
    remote, _ = await both(cluster, max_tokens=16, repetition_penalty=1.5)
    assert remote.first_token_from_prefill


GRAMMARS = {
    "json_schema": '{"type": "object", "properties": {"ok": {"type": "boolean"}, "tone": {"enum": ["flat", "sharp"]}},'
    ' "required": ["ok", "tone"], "additionalProperties": false}',
    "regex": "[a-f]{3}-[0-9]{2}( |!)",
    "choice": '["left", "right", "straight on"]',
    "grammar": 'root ::= ("tick" | "tock") " " ("tick" | "tock")',
}


@pytest.mark.parametrize("kind", GRAMMARS)
async def test_a_grammar_begins_at_the_first_token(cluster: RealCluster, kind: Any) -> None:
    grammar = Grammar(kind=kind, value=GRAMMARS[kind])
    model = TextModel.load(MODEL)
    unwanted = {t: -100.0 for t in range(model.vocab_size) if kind == "json_schema" and model.token_bytes(t).isspace()}
    remote, _ = await both(cluster, max_tokens=60, grammar=grammar, ignore_eos=False, logit_bias=unwanted or None)
    assert not remote.first_token_from_prefill
    assert remote.finish_reason == "stop"
    text = model.detokenizer().feed(remote.tokens)
    assert _fits(kind, text), text


async def test_min_tokens_count_from_the_first(cluster: RealCluster) -> None:
    remote, _ = await both(cluster, ignore_eos=False, logit_bias={EOS: 100.0}, min_tokens=3)
    assert not remote.first_token_from_prefill
    assert (len(remote.tokens), remote.stop_token_id) == (4, EOS)


# ── what the first token brings along ────────────────────────────────────────────────────────────


@pytest.mark.parametrize("count", [0, 3])
async def test_every_token_has_its_logprobs_the_first_too(cluster: RealCluster, count: int) -> None:
    remote, _ = await both(cluster, max_tokens=6, logprobs=count)
    assert remote.first_token_from_prefill
    assert [len(entry.top) for entry in remote.logprobs] == [count] * 6
    assert all(entry.rank == 1 and entry.logprob < 0 for entry in remote.logprobs)


async def test_unseeded_sampling_takes_the_prefill_workers_token(cluster: RealCluster) -> None:
    # One token is certain: top_k = 1 alone draws lots between tokens whose bf16 logits are equal.
    remote, _ = await both(cluster, temperature=1.0, logit_bias={77: 100.0}, max_tokens=8)
    assert remote.tokens == [77] * 8
    assert remote.first_token_from_prefill
    free = await cluster.answer(a_request(prompt=a_prompt(), temperature=1.0, max_tokens=8, ignore_eos=True))
    assert free.first_token_from_prefill
    assert len(free.tokens) == 8


# ── several at once ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seeded", [False, True], ids=["greedy", "seeded"])
async def test_several_sequences_of_one_prompt_each_get_their_own_answer(cluster: RealCluster, seeded: bool) -> None:
    """n = 4, as the processor asks for it: four requests at once."""
    options: list[dict[str, Any]] = [{"seed": seed, "temperature": 1.0} if seeded else {} for seed in range(4)]
    requests = [a_request(prompt=a_prompt(), max_tokens=10, ignore_eos=True, **option) for option in options]
    remote = await asyncio.gather(*map(cluster.answer, requests))
    assert [answer.site for answer in remote] == ["remote"] * 4
    assert [answer.first_token_from_prefill for answer in remote] == [not seeded] * 4
    local = [await cluster.local(request) for request in requests]
    assert [answer.said() for answer in remote] == [answer.said() for answer in local]
    assert len({tuple(answer.tokens) for answer in remote}) == (4 if seeded else 1)


def _fits(kind: str, text: str) -> bool:
    match kind:
        case "json_schema":
            found = json.loads(text)
            return set(found) == {"ok", "tone"} and isinstance(found["ok"], bool) and found["tone"] in ("flat", "sharp")
        case "regex":
            return re.fullmatch(GRAMMARS["regex"], text) is not None
        case "choice":
            return text in json.loads(GRAMMARS["choice"])
        case _:
            return re.fullmatch("(tick|tock) (tick|tock)", text) is not None
