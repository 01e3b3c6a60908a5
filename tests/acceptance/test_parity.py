"""200 prompts, each prefilled by a prefill worker and by one engine alone: same tokens, same logprobs, same KV bytes.

For each prompt length, on two real engines that read each other's KV by NIXL:

    whole   two tokens asked for: the first from the prefill worker, the second from the decode engine.
            Counted: the bytes that vLLM's NIXL counter grew by. Compared: every KV block of the hand-off, as it lies
            in the memory of both engines.
    remote  greedy, with logprobs, both caches empty again
    again   the same once more: the decode engine has all of the prompt's full blocks and reads the last one only
    local   the same on one engine alone: with an empty cache, like `remote`, and once more, like `again`

What vLLM moves is whole blocks: ceil(m / B) - h of them, where m is what the hand-off covers (the prompt, and the
first token where that comes from the prefill worker), B is the block size and h the blocks that the decode engine
finds in its own cache: at most those before the last token, which it always computes itself.

Why whole blocks may be compared, the last and partly filled one too: NIXL copies it as it is, what lies behind the
last token included. Afterwards the decode engine writes only the last covered token's KV into it, which it computes
anew; for the first token that is the very sum that the prefill engine has done (a step of one token on the same KV).
Of `whole` no further token's KV is computed: its last token is sampled and never fed back. The prompt one short of
the limit has no room for a second token, so its hand-off covers the prompt alone and the decode engine computes the
last prompt token in a step of its own, where the prefill engine computed it among the others. There the last block
may differ by rounding, in that one token.

Of a prompt that ends at a block's edge, `again` is another sum, too: the decode engine holds that last block as the
whole prompt's computation left it, while an engine alone computes it anew, after the cached ones, since a prompt's last
token is always computed. Processors differ in whether that rounds alike (with AMX it does, without it does not).
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass

import msgspec
import pytest
import pytest_asyncio
from tests.real.cluster import Answer, Nursery, RealCluster, a_real_cluster

from tandem.core.request import GenerateRequest
from tandem.testing.cluster import a_request

LIMIT = 2048
PROMPTS = 200
PARTS = 5
"""The prompts of a block size come in so many tests, so that a machine that is busy can do them one by one."""
NOISE = 1e-3
"""Largest difference of two log probabilities that come from the same sums. Measured: none (docs/acceptance.md)."""
ROUNDING = 0.5
"""The same where sums are done in another order: logits are bfloat16, and beyond 32 their neighbours lie 0.25 apart."""

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]


def lengths(block: int) -> list[int]:
    """200 lengths from 1 to one short of the limit: both ends, both sides of block edges, and evenly in between."""
    edges = range(block, LIMIT, block)
    ordered = [1, 2, 3, LIMIT - 3, LIMIT - 2, LIMIT - 1]
    for beside in (0, -1, 1, -2, 2, -3, 3):
        ordered += [edge + beside for edge in edges]
    ordered = ordered[: PROMPTS - 20] + [1 + i * 101 for i in range(20)] + list(range(LIMIT // 2, LIMIT))
    return sorted(list(dict.fromkeys(length for length in ordered if 0 < length < LIMIT))[:PROMPTS])


def a_prompt(length: int) -> list[int]:
    """Words of the vocabulary in no order; no two lengths begin alike, so that no cache holds any of it."""
    draw = random.Random(length)
    return [draw.randrange(300, 4500) for _ in range(length)]


@dataclass(slots=True)
class Findings:
    """What was seen over all prompts."""

    block_size: int
    prompts: int = 0
    shortest: int = 0
    longest: int = 0
    kv_bytes: int = 0
    blocks_compared: int = 0
    tokens_compared: int = 0
    max_logprob_difference: float = 0.0
    max_logprob_difference_last_token_alone: float = 0.0
    """Of the prompt one short of the limit."""
    max_logprob_difference_edge_again: float = 0.0
    """Of prompts that end at a block's edge, asked again."""
    near_ties: str = ""
    """Lengths at which such an answer took the other of two tokens that are as likely within rounding."""
    lengths_that_differ: str = ""


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[32, 128], ids=lambda size: f"blocks of {size}")
async def cluster(nursery: Nursery, request: pytest.FixtureRequest) -> AsyncIterator[RealCluster]:
    async with a_real_cluster(
        nursery, block_size=request.param, max_model_len=LIMIT, kv_cache_memory_bytes=64 << 20
    ) as cluster:
        assert cluster.decode.facts.block_size_tokens == request.param
        yield cluster


@pytest.mark.parametrize("part", range(PARTS))
async def test_remote_prefill_changes_nothing(
    cluster: RealCluster, capsys: pytest.CaptureFixture[str], part: int
) -> None:
    block = cluster.decode.facts.block_size_tokens
    chosen = lengths(block)[part::PARTS]
    findings = Findings(block_size=block)
    assert len(await cluster.decode.kv_block(0)) == cluster.decode.facts.block_bytes
    known = set(await cluster.decode.kv_digests())
    for length in chosen:
        known = await compare(cluster, length, known, findings)
    findings.prompts, findings.shortest, findings.longest = len(chosen), min(chosen), max(chosen)
    with capsys.disabled():
        print("\n" + json.dumps(asdict(findings)))
    assert not findings.lengths_that_differ
    assert findings.max_logprob_difference <= NOISE
    assert findings.max_logprob_difference_last_token_alone <= ROUNDING
    assert findings.max_logprob_difference_edge_again <= ROUNDING


async def test_many_at_once_change_nothing_either(cluster: RealCluster, capsys: pytest.CaptureFixture[str]) -> None:
    """Eight at a time: prompts are computed, pulled and decoded in batches that nobody planned.

    A batch sums in another order, so log probabilities differ by rounding, and of two tokens that are as likely
    within that, either may be chosen: from there on the answers are two.
    """
    block, block_bytes = cluster.decode.facts.block_size_tokens, cluster.decode.facts.block_bytes
    chosen = [length for length in lengths(block) if length + 2 <= LIMIT][::4]
    requests = [a_request(prompt=a_prompt(length), max_tokens=8, logprobs=5, ignore_eos=True) for length in chosen]
    room = asyncio.Semaphore(8)

    async def ask(request: GenerateRequest) -> Answer:
        async with room:
            return await cluster.answer(request)

    assert await cluster.all_free()
    before = await cluster.decode.figures()
    answers = await asyncio.gather(*map(ask, requests))
    after = await cluster.decode.figures()
    assert all(answer.site == "remote" and answer.first_token_from_prefill for answer in answers)
    assert (after.fallbacks, after.failures) == (before.fallbacks, before.failures)
    assert after.kv_bytes - before.kv_bytes == sum(-(-(length + 1) // block) for length in chosen) * block_bytes
    noise, near_ties = 0.0, []
    for request, answer in zip(requests, answers, strict=True):
        assert await cluster.all_free()
        local = await cluster.local(request)
        noise = max(noise, difference(answer, local, until=common(answer, local)))
        if parted_at_a_near_tie(answer, local, request.prompt_tokens):
            near_ties.append(request.prompt_tokens)
    with capsys.disabled():
        figures = {"block_size": block, "at_once": 8, "prompts": len(chosen), "max_logprob_difference": noise}
        print("\n" + json.dumps({**figures, "near_ties": near_ties}))
    assert noise <= ROUNDING


async def compare(cluster: RealCluster, length: int, known: set[str], findings: Findings) -> set[str]:
    """One length. Returns the digests of every block that the decode engine holds then."""
    block, block_bytes = cluster.decode.facts.block_size_tokens, cluster.decode.facts.block_bytes
    request = a_request(prompt=a_prompt(length), max_tokens=8, logprobs=5, ignore_eos=True)
    covered = length if length + 2 > LIMIT else length + 1
    blocks = -(-covered // block)

    assert await cluster.all_free()
    before = await cluster.decode.figures()
    await remotely(cluster, asked(request, max_tokens=2), covered, blocks)
    after = await cluster.decode.figures()
    assert after.fallbacks == before.fallbacks
    assert after.failures == before.failures
    handed_over = (await cluster.prefill.figures()).handed_over[-1]
    assert len(handed_over) == blocks
    given = await cluster.prefill.kv_digests(handed_over)
    held = set(await cluster.decode.kv_digests())
    compared = given if covered > length else given[:-1]
    assert len(set(compared)) == len(compared), f"{length} tokens: two blocks with the same content prove nothing"
    assert not known & set(compared), f"{length} tokens: the decode engine held a block before it was moved"
    assert set(compared) <= held, f"{length} tokens: {len(set(compared) - held)} of {blocks} blocks arrived changed"
    findings.blocks_compared += len(compared)
    findings.kv_bytes += blocks * block_bytes

    assert await cluster.all_free()
    remote = await remotely(cluster, request, covered, blocks)
    again = await remotely(cluster, asked(request), covered, blocks - (covered - 1) // block)
    assert await cluster.all_free()
    for mine in (remote, again):  # a prompt of which a part is cached is another sum: each has its own equal
        local = await cluster.local(request)
        assert local.cached_tokens == (0 if mine is remote else (length - 1) // block * block)
        findings.tokens_compared += len(mine.tokens)
        if mine is again and length % block == 0:
            found = difference(mine, local, until=common(mine, local))
            findings.max_logprob_difference_edge_again = max(findings.max_logprob_difference_edge_again, found)
            if parted_at_a_near_tie(mine, local, length):
                findings.near_ties += f" {length}"
            continue
        found = difference(mine, local)
        if covered > length:
            findings.max_logprob_difference = max(findings.max_logprob_difference, found)
        else:
            alone = findings.max_logprob_difference_last_token_alone
            findings.max_logprob_difference_last_token_alone = max(alone, found)
        if mine.said() != local.said():
            findings.lengths_that_differ += f" {length}"
    return set(await cluster.decode.kv_digests())


async def remotely(cluster: RealCluster, request: GenerateRequest, covered: int, blocks: int) -> Answer:
    """Answer a request whose KV must be moved, exactly so many blocks of it."""
    before = await cluster.decode.figures()
    answer = await cluster.answer(request)
    after = await cluster.decode.figures()
    what = f"{request.prompt_tokens} tokens"
    assert answer.stage("prefill_decision").detail == {"site": "remote", "reason": "always"}, what
    assert answer.stage("prefill").instance == cluster.prefill.card.instance_id, what
    assert answer.first_token_from_prefill == (covered > request.prompt_tokens), what
    assert answer.stage("kv_pull").detail["tokens"] == covered, what
    moved = blocks * cluster.decode.facts.block_bytes
    assert after.kv_bytes - before.kv_bytes == moved, what
    assert answer.stage("kv_pull").detail["kv_bytes"] == moved, what
    assert after.transfers - before.transfers == 1, what
    assert after.fallbacks == before.fallbacks, what
    return answer


def asked(request: GenerateRequest, *, max_tokens: int | None = None) -> GenerateRequest:
    """The same once more under another name."""
    sampling = request.sampling
    if max_tokens is not None:
        sampling = msgspec.structs.replace(sampling, max_tokens=max_tokens)
    return msgspec.structs.replace(request, request_id=f"{request.request_id}-{max_tokens}", sampling=sampling)


def common(one: Answer, other: Answer) -> int:
    """How many tokens they begin with alike."""
    pairs = zip(one.tokens, other.tokens, strict=True)
    return next((place for place, (mine, theirs) in enumerate(pairs) if mine != theirs), len(one.tokens))


def parted_at_a_near_tie(one: Answer, local: Answer, prompt_tokens: int) -> bool:
    """Whether the answers part; where they do, both tokens must be as likely within rounding."""
    same = common(one, local)
    if same == len(local.tokens):
        return False
    gap = local.logprobs[same].logprob - dict(local.logprobs[same].top)[one.tokens[same]]
    assert gap <= ROUNDING, f"{prompt_tokens} tokens: another answer, and no near tie"
    return True


def difference(one: Answer, other: Answer, *, until: int | None = None) -> float:
    """The largest difference of two log probabilities, over the chosen tokens and their rivals."""
    found = 0.0
    for mine, theirs in list(zip(one.logprobs, other.logprobs, strict=True))[:until]:
        found = max(found, abs(mine.logprob - theirs.logprob))
        rivals = dict(theirs.top)
        found = max([found, *(abs(value - rivals[token]) for token, value in mine.top if token in rivals)])
    return found


async def test_the_lengths_are_as_promised() -> None:
    for block in (32, 128):
        found = lengths(block)
        assert len(set(found)) == PROMPTS
        assert {1, 2, LIMIT - 2, LIMIT - 1} <= set(found)
        beside = {edge + d for edge in range(block, LIMIT, block) for d in (-1, 0, 1)} & set(range(LIMIT))
        assert len(beside & set(found)) >= min(len(beside), 150)
