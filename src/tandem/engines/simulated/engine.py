"""A timed model of an engine, with a real block cache, continuous batching and hand-offs that can really fail.

It answers with words of the model's own tokenizer, as a function of the whole prompt: the same request
gives the same greedy text on any engine and by any path, or something is broken. Light: one task and no
thread per engine, so a hundred fit one process; clock and sleep come from outside.

args.py sizes and speeds · model.py cost and tokens · cache.py blocks
pace.py steps in time · scheduler.py batches · outputs.py to the readers · transfer.py reading a peer's blocks
"""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from random import Random
from typing import Any

from tandem.core.cards import EngineFacts
from tandem.core.handoff import Handoff
from tandem.core.kv_events import KvEventBatch
from tandem.core.request import GenerateOutput, GenerateRequest
from tandem.engines.handoffs import LEASE_SHARE, HandoffCheck, prompt_digest
from tandem.engines.model_files import read_model_files
from tandem.engines.ports import EngineCapabilities, EngineLoad, EngineSpec, TransferTotals
from tandem.engines.simulated.args import simulated_args
from tandem.engines.simulated.cache import BlockCache
from tandem.engines.simulated.model import TokenModel
from tandem.engines.simulated.outputs import Last, SequenceOutputs
from tandem.engines.simulated.pace import Pace
from tandem.engines.simulated.pins import Pins
from tandem.engines.simulated.scheduler import Scheduler, Sequence
from tandem.engines.simulated.transfer import Pull, SideChannel, reading
from tandem.engines.vllm.args import known_engine_keys
from tandem.errors import ContextTooLong, EngineFailed, KvTransferFailed, Overloaded, RequestError

ENGINE = "simulated"
_EVENT_BATCHES = 10_000
"""Batches kept for a slow reader of KV events; then the oldest go, and the reader sees `seq` jump."""


class SimulatedEngine:
    """One simulated engine. The port's docstrings hold."""

    capabilities = EngineCapabilities(
        order="prefill_first", emits_first_token=True, local_prefill_ok=True, on_kv_failure="error", kv_events=True
    )

    def __init__(
        self,
        spec: EngineSpec,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._spec = spec
        self._clock = clock
        self._sleep = sleep
        self._args = simulated_args(spec.engine_args, ignored=known_engine_keys())
        self._cost = self._args.step_cost()
        self._pace = Pace(clock, sleep)
        self._max_model_len = self._args.model_len(spec.model_path)
        self._block_bytes = self._args.block_bytes(spec.model_path)
        self._cache = BlockCache(
            self._args.num_kv_blocks, self._args.block_size, reuse=self._args.enable_prefix_caching
        )
        self._scheduler = Scheduler(
            self._cache,
            TokenModel(read_model_files(spec.model_path), self._args.eos_rate, Random(spec.seed)),
            max_num_seqs=self._args.max_num_seqs,
            max_num_batched_tokens=self._args.max_num_batched_tokens,
            max_model_len=self._max_model_len,
        )
        self._check = HandoffCheck(ENGINE, required=("address",))
        self._pins = Pins(self._cache, sleep=sleep, freed=self._stir)
        self._channel = SideChannel(self._pins)
        self._outgoing: dict[Sequence, SequenceOutputs[Any]] = {}
        self._arrivals = 0
        self._totals = TransferTotals()
        self._batches: deque[KvEventBatch] = deque(maxlen=_EVENT_BATCHES)
        self._batch_seq = 0
        self._batch_ready = asyncio.Event()
        self._wake = asyncio.Event()
        self._dead = asyncio.Event()
        self._death = ""
        self._steps: asyncio.Task[None] | None = None
        self._facts: EngineFacts | None = None

    @property
    def facts(self) -> EngineFacts:
        assert self._facts is not None, "facts are known after load()"
        return self._facts

    async def load(self) -> EngineFacts:
        """Wait `load_s`, open the side channel, start stepping."""
        await self._sleep(self._args.load_s / self._args.speedup)
        engine_id = uuid.uuid4().hex
        if self._spec.roles and self._args.side_channel == "memory":
            self._channel.open_memory(engine_id)
        elif self._spec.roles:
            await self._channel.open_tcp(self._spec.side_channel_host)
        self._pins.engine_id = engine_id
        self._facts = EngineFacts(
            engine=ENGINE,
            engine_version="1",
            engine_id=engine_id,
            model_path=self._spec.model_path,
            max_model_len=self._max_model_len,
            block_size_tokens=self._args.block_size,
            kv_blocks_total=self._args.num_kv_blocks,
            block_bytes=self._block_bytes,
            max_num_seqs=self._args.max_num_seqs,
            max_num_batched_tokens=self._args.max_num_batched_tokens,
            dtype="none",
            side_channel=self._channel.address,
            adapters=self._spec.adapters,
            kv_layout=f"simulated/{self._block_bytes}",
        )
        self._steps = asyncio.create_task(self._step_for_ever(), name=f"simulated-engine-{engine_id[:8]}")
        return self._facts

    def generate(self, request: GenerateRequest) -> SequenceOutputs[GenerateOutput]:
        async def turn(_: Sequence) -> None:
            raise AssertionError("a sequence that is not handed over has no turn")

        return self._outputs(lambda: self._sequence(request), turn)

    def prefill(self, request: GenerateRequest, *, first_token: bool) -> SequenceOutputs[Handoff]:
        async def hand_over(seq: Sequence) -> Handoff:
            blocks, seq.blocks = seq.blocks, []
            pin = self._pins.pin(blocks, lease_s=self._spec.handoff_lease_s)
            return Handoff(
                engine=ENGINE,
                engine_id=self.facts.engine_id,
                num_tokens=len(seq.tokens),
                expires_at=self._clock() + self._spec.handoff_lease_s * LEASE_SHARE,
                opaque={"id": pin, "digest": prompt_digest(seq.tokens), "address": self._channel.address},
            )

        def make() -> Sequence:
            if not self._spec.roles:
                raise RequestError("this engine was started without a role in hand-offs")
            return self._sequence(request, prefill_steps=int(first_token))

        return self._outputs(make, hand_over)

    def decode(self, request: GenerateRequest, handoff: Handoff) -> SequenceOutputs[GenerateOutput]:
        def make() -> Sequence:
            self._check.admit(handoff, request.prompt_token_ids, now=self._clock())
            return self._sequence(request, remote=True)

        return self._outputs(make, lambda seq: self._fetch(seq, handoff))

    async def release(self, handoff: Handoff) -> None:
        if handoff.engine_id == self.facts.engine_id:
            self._pins.free(str(handoff.opaque.get("id")))

    def load_report(self) -> EngineLoad:
        waiting = self._scheduler.waiting
        return EngineLoad(
            running=len(self._scheduler.running),
            waiting=len(waiting) + len(self._scheduler.fetching),
            kv_blocks_used=self._cache.used_blocks,
            kv_blocks_total=self._cache.num_blocks,
            waiting_prefill_tokens=sum(len(seq.tokens) for seq in waiting if not seq.remote),
        )

    def transfer_totals(self) -> TransferTotals:
        return self._totals

    async def kv_events(self) -> AsyncGenerator[KvEventBatch, None]:
        while True:
            while self._batches:
                yield self._batches.popleft()
            if self._dead.is_set():
                return
            self._batch_ready.clear()
            await self._batch_ready.wait()

    async def cached_tokens(self, request: GenerateRequest) -> int:
        return self._scheduler.cached_tokens(request)

    async def reset_prefix_cache(self) -> bool:
        done = self._cache.reset()
        self._publish()
        return done

    async def wait_dead(self) -> str:
        await self._dead.wait()
        return self._death

    def crash(self, reason: str) -> None:
        """Die as a killed process would: connections break, running requests fail. For tests and drills."""
        if self._dead.is_set():
            return
        self._death = reason
        self._dead.set()
        self._channel.close()
        self._pins.close()
        if self._steps is not None:
            self._steps.cancel()
        for outputs in self._outgoing.values():
            outputs.put(EngineFailed(f"the engine died: {reason}"))
        self._batch_ready.set()

    async def aclose(self) -> None:
        self.crash("closed")
        if self._steps is not None:
            await asyncio.wait({self._steps})
        await self._channel.wait_closed()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _sequence(
        self, request: GenerateRequest, *, prefill_steps: int | None = None, remote: bool = False
    ) -> Sequence:
        count = request.prompt_tokens
        if not count:
            raise RequestError("the prompt is empty", param="prompt")
        if count >= self._max_model_len:
            raise ContextTooLong(
                f"the prompt has {count} tokens; the model takes {self._max_model_len}, output included", param="prompt"
            )
        if request.lora_name is not None and request.lora_name not in self._spec.adapters:
            raise RequestError(f"the adapter {request.lora_name[:128]!r} is not loaded here", param="model")
        if (grammar := request.sampling.grammar) is not None:
            message = "a simulated engine writes words without sense and in no form"
            raise RequestError(message, param=grammar.field or None)
        limit = self._args.max_num_queued_reqs
        if limit is not None and len(self._scheduler.waiting) >= limit:
            raise Overloaded(f"{limit} requests are waiting already")
        self._arrivals += 1
        return Sequence(request, (request.priority, self._arrivals), prefill_steps=prefill_steps, remote=remote)

    def _outputs(
        self, make: Callable[[], Sequence], turn: Callable[[Sequence], Awaitable[Last | None]]
    ) -> SequenceOutputs[Last]:
        return SequenceOutputs(make, enter=self._enter, leave=self._leave, turn=turn)

    def _enter(self, seq: Sequence, outputs: SequenceOutputs[Any]) -> None:
        if self._dead.is_set():
            raise EngineFailed(f"the engine died: {self._death}")
        self._outgoing[seq] = outputs
        self._scheduler.add(seq)
        self._stir()

    def _leave(self, seq: Sequence) -> None:
        del self._outgoing[seq]
        self._scheduler.remove(seq)
        self._stir()

    async def _fetch(self, seq: Sequence, handoff: Handoff) -> None:
        """Read the peer's blocks into a sequence that has its own; the modelled time passes here."""
        skip = seq.computed // self._args.block_size
        pull = Pull(str(handoff.opaque["id"]), handoff.engine_id, skip)
        kv_bytes = (len(seq.blocks) - skip) * self._block_bytes
        began = self._clock()
        try:
            async with reading(str(handoff.opaque["address"]), pull) as found:
                if len(found.contents) != len(seq.blocks) - skip:
                    raise KvTransferFailed(
                        f"the peer has {len(found.contents)} blocks, {len(seq.blocks) - skip} are needed"
                    )
                await self._pass_time(self._args.transfer_s(kv_bytes), found.broken)
        except KvTransferFailed:
            self._totals = replace(self._totals, failures=self._totals.failures + 1)
            raise
        self._totals = replace(
            self._totals,
            kv_bytes=self._totals.kv_bytes + kv_bytes,
            transfers=self._totals.transfers + 1,
            seconds=self._totals.seconds + self._clock() - began,
        )
        self._scheduler.fetched(seq, found.contents)
        self._stir()

    async def _pass_time(self, seconds: float, broken: asyncio.Event) -> None:
        racers = [
            asyncio.ensure_future(self._sleep(seconds)),
            *(asyncio.ensure_future(event.wait()) for event in (broken, self._dead)),
        ]
        try:
            await asyncio.wait(racers, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for racer in racers:
                racer.cancel()
        if self._dead.is_set():
            raise EngineFailed(f"the engine died: {self._death}")
        if broken.is_set():
            raise KvTransferFailed("the prefill engine broke off during the transfer")

    def _stir(self) -> None:
        """Something changed that may let a step run."""
        self._wake.set()

    async def _step_for_ever(self) -> None:
        try:
            while True:
                if not await self._step():
                    self._wake.clear()
                    await self._wake.wait()
                    self._pace.begin()
        except Exception as error:
            self._steps = None
            self.crash(f"{type(error).__name__}: {error}")
            raise

    async def _step(self) -> bool:
        """One engine step. False when there was nothing to compute."""
        fetching = set(self._scheduler.fetching)
        work = self._scheduler.plan()
        for seq in self._scheduler.fetching:
            if seq not in fetching:
                self._outgoing[seq].put(None)
        if not work:
            self._publish()
            return False
        decode_seqs = sum(tokens == 1 for _, tokens in work)
        prefill_tokens = sum(tokens for _, tokens in work) - decode_seqs
        await self._pace.spend(self._cost.seconds(prefill_tokens=prefill_tokens, decode_seqs=decode_seqs))
        for seq, output in self._scheduler.apply(work):
            self._outgoing[seq].put(output)
        self._publish()
        return True

    def _publish(self) -> None:
        events = self._cache.events()
        if events:
            self._batches.append(KvEventBatch(seq=self._batch_seq, events=events))
            self._batch_seq += 1
            self._batch_ready.set()
