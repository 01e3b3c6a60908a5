"""Continuous batching as the simulated engine does it: a waiting queue, a running batch, a token budget.

    waiting ──admit: prefix hits held, blocks taken──► running ──finished──► gone, or pinned for a peer
       ▲                                                  │
       └────────────── preempted: no block left ──────────┘
    remote: waiting ──► fetching (blocks taken, KV on its way) ──► running

Pure in time: `plan` says what the next step computes, `apply` does it. The engine sleeps in between.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter

from tandem.core.request import FinishReason, GenerateOutput, GenerateRequest, TokenLogprobs
from tandem.engines.simulated.cache import BlockCache
from tandem.engines.simulated.model import EMPTY, TokenModel, fold, mix

_ORDER = attrgetter("order")


@dataclass(slots=True, eq=False)
class Sequence:
    """One request inside the engine."""

    request: GenerateRequest
    order: tuple[int, int]
    """Priority, then arrival."""
    prefill_steps: int | None = None
    """None: generate to the end. 0: only the prompt's KV. 1: that, the first token, and the first token's KV."""
    remote: bool = False
    """KV comes from a peer: on admission blocks are taken, then the engine fetches into them."""
    tokens: list[int] = field(default_factory=list)
    generated: int = 0
    computed: int = 0
    """Leading tokens whose KV is in `blocks`."""
    blocks: list[int] = field(default_factory=list)
    cached_tokens: int | None = None
    """Prompt tokens found in the cache at first admission."""
    admitted: bool = False
    finish: FinishReason | None = None

    def __post_init__(self) -> None:
        self.tokens = list(self.request.prompt_token_ids)

    @property
    def target(self) -> int:
        """Tokens whose KV a finished prefill holds."""
        return self.request.prompt_tokens + (self.prefill_steps or 0)


Work = tuple[Sequence, int]
"""A step's share of one sequence, in tokens."""

Progress = tuple[Sequence, GenerateOutput | None]
"""What a step brought a sequence: a token, or (None) a prefill's KV complete."""


class Scheduler:
    """Batches of one engine."""

    def __init__(
        self,
        cache: BlockCache,
        model: TokenModel,
        *,
        max_num_seqs: int,
        max_num_batched_tokens: int,
        max_model_len: int,
    ) -> None:
        self.cache = cache
        self.model = model
        self.max_num_seqs = max_num_seqs
        self.max_num_batched_tokens = max_num_batched_tokens
        self.max_model_len = max_model_len
        self.waiting: list[Sequence] = []
        self.running: dict[Sequence, None] = {}
        """In the order of admission; asked for membership for every token."""
        self.fetching: list[Sequence] = []

    def add(self, seq: Sequence) -> None:
        self.waiting.append(seq)
        self.waiting.sort(key=_ORDER)

    def remove(self, seq: Sequence) -> None:
        """Forget a sequence and free its blocks, in whatever state it is. Safe to repeat."""
        self.running.pop(seq, None)
        for queue in (self.waiting, self.fetching):
            if seq in queue:
                queue.remove(seq)
        blocks, seq.blocks = seq.blocks, []
        self.cache.release(blocks)

    def plan(self) -> list[Work]:
        """What the next step computes. Admits, takes blocks, and preempts the youngest when blocks run out."""
        budget, running, size = self.max_num_batched_tokens, self.running, self.cache.block_size_tokens
        work: list[Work] = []
        preempted = False
        for seq in sorted(running, key=_ORDER):
            if not budget:
                break
            if preempted and seq not in running:
                continue
            known, computed = len(seq.tokens), seq.computed
            count = min(max(1, known - computed), budget)
            want = min(computed + count, known)
            while want > len(seq.blocks) * size and not self._grow(seq, want):
                youngest, preempted = max(running, key=_ORDER), True
                self._preempt(youngest)
                if youngest is seq:
                    break
            else:
                work.append((seq, count))
                budget -= count
        while self.waiting and budget and len(self.running) < self.max_num_seqs:
            seq = self.waiting[0]
            remote = seq.remote and not seq.admitted
            if not self._admit(seq, budget):
                break
            self.waiting.pop(0)
            if remote:
                self.fetching.append(seq)
                continue
            self.running[seq] = None
            count = min(max(1, len(seq.tokens) - seq.computed), budget)
            work.append((seq, count))
            budget -= count
        return [item for item in work if item[0] in running] if preempted else work

    def fetched(self, seq: Sequence, contents: list[int]) -> None:
        """A peer's blocks have arrived in a fetching sequence; `contents` are those after its own prefix hits."""
        self.fetching.remove(seq)
        size = self.cache.block_size_tokens
        first = seq.computed // size
        for block, content in zip(seq.blocks[first:], contents, strict=True):
            self.cache.content[block] = content
        seq.computed = len(seq.tokens)
        for index in range(first, seq.computed // size):
            self._seal(seq, index)
        self.running[seq] = None

    def apply(self, work: list[Work]) -> Iterator[Progress]:
        """Carry out a step. Sequences that were removed or preempted since `plan` are skipped."""
        running = self.running
        for seq, count in work:
            if seq not in running:
                continue
            self._compute(seq, count)
            if seq.computed < len(seq.tokens):
                continue
            if seq.prefill_steps is not None and seq.computed >= seq.target:
                del running[seq]
                yield seq, None
                continue
            output = self._sample(seq)
            if output.finish_reason is not None:
                self.remove(seq)
            yield seq, output

    def prompt_values(self, seq: Sequence) -> list[int]:
        """The running value after each prompt token."""
        values, value = [], EMPTY
        for token in seq.request.prompt_token_ids:
            value = fold(value, token)
            values.append(value)
        return values

    def cached_tokens(self, request: GenerateRequest) -> int:
        """Leading prompt tokens that a request would find in the cache."""
        return len(self.cache.hits(self._keys(request, request.prompt_token_ids))) * self.cache.block_size_tokens

    def _admit(self, seq: Sequence, budget: int) -> bool:
        hits = self.cache.hits(self._keys(seq.request, seq.tokens))
        self.cache.hold(hits)
        seq.blocks = hits
        seq.computed = len(hits) * self.cache.block_size_tokens
        want = len(seq.tokens) if seq.remote and not seq.admitted else min(len(seq.tokens), seq.computed + budget)
        if not self._grow(seq, want):
            self.cache.release(hits)
            seq.blocks, seq.computed = [], 0
            return False
        if not seq.admitted:
            seq.admitted = True
            seq.cached_tokens = seq.computed
        return True

    def _keys(self, request: GenerateRequest, tokens: list[int]) -> Iterator[int]:
        """Keys of the full blocks that may be hit: at least one token stays to be computed."""
        if request.sampling.prompt_logprobs is not None:  # those need every prompt token computed
            return
        size, value = self.cache.block_size_tokens, EMPTY
        for end in range(size, len(tokens), size):
            for token in tokens[end - size : end]:
                value = fold(value, token)
            yield block_key(value, request.cache_salt, request.lora_name)

    def _grow(self, seq: Sequence, tokens: int) -> bool:
        missing = -(-tokens // self.cache.block_size_tokens) - len(seq.blocks)
        if missing <= 0:
            return True
        taken = self.cache.take(missing)
        if taken is None:
            return False
        seq.blocks.extend(taken)
        return True

    def _preempt(self, seq: Sequence) -> None:
        del self.running[seq]
        self.cache.release(seq.blocks)
        seq.blocks, seq.computed = [], 0
        self.add(seq)

    def _compute(self, seq: Sequence, count: int) -> None:
        size, content, blocks, tokens = self.cache.block_size_tokens, self.cache.content, seq.blocks, seq.tokens
        start = seq.computed
        end = min(start + count, len(tokens))
        value = content[blocks[(start - 1) // size]] if start else EMPTY
        for position in range(start, end):
            value = fold(value, tokens[position])
            if (position + 1) % size == 0:
                content[blocks[position // size]] = value
                self._seal(seq, position // size)
        if end % size:
            content[blocks[end // size]] = value
        seq.computed = end

    def _seal(self, seq: Sequence, index: int) -> None:
        size, salt, lora = self.cache.block_size_tokens, seq.request.cache_salt, seq.request.lora_name
        parent = block_key(self.cache.content[seq.blocks[index - 1]], salt, lora) if index else None
        self.cache.seal(
            seq.blocks[index],
            block_key(self.cache.content[seq.blocks[index]], salt, lora),
            parent=parent,
            token_ids=seq.tokens[index * size : (index + 1) * size],
            cache_salt=salt,
            lora_name=lora,
        )

    def _sample(self, seq: Sequence) -> GenerateOutput:
        sampling, generated = seq.request.sampling, seq.generated
        value = self.cache.content[seq.blocks[(seq.computed - 1) // self.cache.block_size_tokens]]
        token, logprobs = self.model.draw(value, sampling, generated=generated)
        seq.tokens.append(token)
        seq.generated = generated + 1
        ends = token in sampling.stop_token_ids or (not sampling.ignore_eos and token in self.model.files.eos_token_ids)
        stopped = ends and generated + 1 >= sampling.min_tokens
        if stopped:
            seq.finish = "stop"
        elif generated + 1 >= sampling.max_tokens or len(seq.tokens) >= self.max_model_len:
            seq.finish = "length"
        elif generated and logprobs is None:
            return GenerateOutput([token])
        prompt_logprobs: list[TokenLogprobs | None] | None = None
        if not generated and sampling.prompt_logprobs is not None:
            prompt_logprobs = self.model.prompt_logprobs(
                self.prompt_values(seq), seq.request.prompt_token_ids, sampling.prompt_logprobs
            )
        return GenerateOutput(
            token_ids=[token],
            finish_reason=seq.finish,
            stop_token_id=token if stopped else None,
            logprobs=None if logprobs is None else [logprobs],
            prompt_logprobs=prompt_logprobs,
            cached_tokens=None if generated else seq.cached_tokens,
        )


def block_key(value: int, cache_salt: str | None, lora_name: str | None = None) -> int:
    """A block's identity in the cache and in events: everything up to its end, the salt and the adapter."""
    for part, key in ((cache_salt, b"salt"), (lora_name, b"lora")):
        if part is not None:
            value ^= int.from_bytes(hashlib.blake2b(part.encode(), digest_size=8, key=key).digest(), "big")
    return mix(value)
