"""The vLLM adapter: our Engine port on AsyncLLM and its NIXL connector. Nothing of vLLM is imported before `load`.

loading.py builds the engine · args.py, aliases.py, keys.py its settings · adapters.py LoRA · process.py its processes
grammar_guard.py, grammar_check.py what clients ask for in grammars, looked at beforehand
outputs.py requests and outputs · transfer.py hand-offs · events.py KV events · stats.py figures
worker_extension.py runs inside the engine
"""

import asyncio
import contextlib
import inspect
import itertools
import logging
import time
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from tandem.core.cards import EngineFacts
from tandem.core.embeddings import EmbedOutput, EmbedRequest
from tandem.core.handoff import Handoff
from tandem.core.kv_events import KvEventBatch
from tandem.core.request import GenerateOutput, GenerateRequest, Sampling
from tandem.engines.handoffs import HandoffCheck
from tandem.engines.ports import EngineCapabilities, EngineLoad, EngineSpec, TransferTotals
from tandem.engines.vllm.adapters import Adapters
from tandem.engines.vllm.args import check_engine_keys
from tandem.engines.vllm.events import EVENTS, REPLAY, read_events
from tandem.engines.vllm.failures import translated
from tandem.engines.vllm.loading import ENGINE, LoadedEngine, load_engine
from tandem.engines.vllm.outputs import (
    OutputMapper,
    embedding_of,
    first_token_of,
    pooling_params,
    sampling_params,
)
from tandem.engines.vllm.process import close_sockets, kill, wait_any_exit
from tandem.engines.vllm.stats import EngineStats
from tandem.engines.vllm.transfer import ask_for_handoff, make_handoff, probe, transfer_params
from tandem.errors import ContextTooLong, EngineFailed, KvTransferFailed, RequestError

logger = logging.getLogger(__name__)

_RELEASE_TRIES = 10
_RELEASE_PAUSE_S = 0.01
"""A prefill that has just ended is pinned at the engine's next step, some milliseconds later."""
_SHUTDOWN_S = 3.0
_DEATH_POLL_S = 0.5


class VllmEngine:
    """One vLLM engine. The port's docstrings hold."""

    def __init__(self, spec: EngineSpec) -> None:
        check_engine_keys(spec.engine_args)
        self._spec = spec
        self.capabilities = EngineCapabilities(
            order="prefill_first", emits_first_token=True, local_prefill_ok=True, on_kv_failure="error", kv_events=True
        )
        self._stats = EngineStats()
        self._check = HandoffCheck(ENGINE, required=("kv",))
        self._loaded: LoadedEngine | None = None
        self._death: asyncio.Future[str] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._numbers = itertools.count()
        self._unstarted: dict[int, int] = {}
        """Prompt tokens of requests that have brought no output yet, by arrival."""
        self._adapters = Adapters()
        self._active: set[int] = set()
        self._pinned: dict[str, float] = {}
        """Our hand-offs and when their lease ends: until read or released, they hold blocks."""
        self._known_peers: set[str] = set()

    @property
    def facts(self) -> EngineFacts:
        return self._engine.facts

    @property
    def _engine(self) -> LoadedEngine:
        assert self._loaded is not None, "load() comes first"
        return self._loaded

    @property
    def process_ids(self) -> list[int]:
        """The engine's own processes, beside ours."""
        return self._engine.pids

    async def load(self) -> EngineFacts:
        """Blocks the event loop until the engine is up: on a CPU it forks, and nothing may run beside a fork."""
        began = time.monotonic()
        self._loaded = load_engine(self._spec, self._stats)
        self.capabilities = EngineCapabilities(
            order="prefill_first",
            emits_first_token=True,
            local_prefill_ok=True,
            on_kv_failure="error",
            kv_events=self._loaded.has_events,
            embeds=self._loaded.embeds,
        )
        await self._adapters.load(self._loaded.llm, self._spec.adapters)
        self._death = asyncio.get_running_loop().create_future()
        self._watch = asyncio.create_task(self._watch_processes(), name="vllm-engine-watch")
        facts = self._loaded.facts
        logger.info(
            "engine.loaded engine=vllm version=%s seconds=%.1f kv_blocks=%d block_size_tokens=%d",
            facts.engine_version,
            time.monotonic() - began,
            facts.kv_blocks_total,
            facts.block_size_tokens,
        )
        return facts

    async def embed(self, request: EmbedRequest) -> EmbedOutput:
        """See `ports.EmbeddingEngine`."""
        if len(request.token_ids) > self.facts.max_model_len:
            message = f"an input has {len(request.token_ids)} tokens; the model takes {self.facts.max_model_len}"
            raise ContextTooLong(message, param="input")
        number = next(self._numbers)
        self._active.add(number)
        self._unstarted[number] = len(request.token_ids)
        options = {"priority": request.priority} if self._engine.by_priority else {}
        prompt = {"type": "token", "prompt_token_ids": request.token_ids}
        try:
            with translated():
                params = pooling_params(request)
                async with contextlib.aclosing(
                    self._engine.llm.encode(prompt, params, request.request_id, **options)
                ) as outputs:
                    async for output in outputs:
                        if output.finished:
                            return embedding_of(output)
            raise EngineFailed("the engine ended a request without an embedding")
        finally:
            self._active.discard(number)
            self._unstarted.pop(number, None)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        mapper = OutputMapper(request)
        async with contextlib.aclosing(self._run(request, request.sampling, None)) as outputs:
            async for output in outputs:
                if output.outputs[0].finish_reason in ("error", "abort"):
                    raise _ended_badly(request, output.outputs[0])
                yield mapper.map(output)

    async def prefill(
        self, request: GenerateRequest, *, first_token: bool
    ) -> AsyncGenerator[GenerateOutput | Handoff, None]:
        if not self._spec.roles:
            raise RequestError("this engine was started without a role in hand-offs")
        if first_token and request.sampling.max_tokens == 1:
            async with contextlib.aclosing(self.generate(request)) as answer:
                async for output in answer:
                    yield output
            return
        sampling = _prefill_sampling(request.sampling, first_token=first_token)
        mapper = OutputMapper(msgspec.structs.replace(request, sampling=sampling))
        covered = list(request.prompt_token_ids)
        params = None
        async with contextlib.aclosing(self._run(request, sampling, ask_for_handoff())) as outputs:
            async for raw in outputs:
                if raw.outputs[0].finish_reason in ("error", "abort"):
                    raise EngineFailed(f"the engine ended a prefill with {raw.outputs[0].finish_reason!r}")
                output = mapper.map(raw)
                if raw.finished:
                    params = raw.kv_transfer_params
                if first_token and len(covered) == request.prompt_tokens and output.token_ids:
                    if output.finish_reason is not None and len(output.token_ids) == 1:
                        await self._release(str((params or {}).get("remote_request_id")))
                        yield output
                        return
                    covered.append(output.token_ids[0])
                    yield first_token_of(output)
        handoff = make_handoff(
            params,
            covered,
            engine=ENGINE,
            engine_id=self.facts.engine_id,
            now=time.time(),
            lease_s=self._spec.handoff_lease_s,
        )
        self._pinned[handoff.opaque["id"]] = time.monotonic() + self._spec.handoff_lease_s
        yield handoff

    async def decode(self, request: GenerateRequest, handoff: Handoff) -> AsyncGenerator[GenerateOutput, None]:
        if not self._spec.roles:
            raise RequestError("this engine was started without a role in hand-offs")
        params = transfer_params(handoff)
        self._check.admit(handoff, request.prompt_token_ids, now=time.time())
        if handoff.engine_id not in self._known_peers:
            await probe(str(params["remote_host"]), int(params["remote_port"]))
        mapper = OutputMapper(request)
        async with contextlib.aclosing(self._run(request, request.sampling, params)) as outputs:
            async for output in outputs:
                match output.outputs[0].finish_reason:
                    case "error":
                        self._known_peers.discard(handoff.engine_id)
                        raise KvTransferFailed(f"the KV of engine {handoff.engine_id} did not arrive")
                    case "abort":
                        raise EngineFailed("the engine ended a request with 'abort'")
                self._known_peers.add(handoff.engine_id)
                yield mapper.map(output)

    async def release(self, handoff: Handoff) -> None:
        if self._loaded is not None and handoff.engine_id == self.facts.engine_id:
            await self._release(str(handoff.opaque.get("id")))

    def load_report(self) -> EngineLoad:
        total = self.facts.kv_blocks_total
        waiting = min(self._stats.waiting, len(self._active))
        unstarted = list(self._unstarted.values())
        now = time.monotonic()
        self._pinned = {name: end for name, end in self._pinned.items() if end > now}
        idle = not self._active and not self._pinned
        return EngineLoad(
            running=len(self._active) - waiting,
            waiting=waiting,
            # The engine reports at its steps only, so the last figure of an idle one is stale.
            kv_blocks_used=0 if idle else round(self._stats.kv_usage * total),
            kv_blocks_total=total,
            waiting_prefill_tokens=sum(unstarted[-waiting:]) if waiting else 0,
        )

    def transfer_totals(self) -> TransferTotals:
        return self._stats.transfer_totals()

    async def kv_events(self) -> AsyncGenerator[KvEventBatch, None]:
        if not self._engine.has_events:
            return
        home, ranks = self._engine.home, self.facts.data_parallel_size
        async with contextlib.aclosing(read_events(home.socket(EVENTS), home.socket(REPLAY), ranks=ranks)) as batches:
            async for batch in batches:
                yield batch

    async def cached_tokens(self, request: GenerateRequest) -> int:
        """vLLM cannot say; the router's index of KV events can."""
        return 0

    async def reset_prefix_cache(self) -> bool:
        with translated():
            return bool(await self._engine.llm.reset_prefix_cache())

    async def wait_dead(self) -> str:
        assert self._death is not None, "load() comes first"
        return await asyncio.shield(self._death)

    async def aclose(self) -> None:
        loaded, watch = self._loaded, self._watch
        if loaded is None or watch is None or self._death is None:
            return
        self._watch = None
        watch.cancel()
        await asyncio.wait({watch})
        if not self._death.done():
            self._death.set_result("closed")
        llm = loaded.llm
        shutdown = llm.shutdown
        llm.shutdown = lambda *args, **kwargs: None  # its __del__ would shut down again, with an error
        options = {"timeout": _SHUTDOWN_S} if "timeout" in inspect.signature(shutdown).parameters else {}
        handler = llm.output_handler
        if handler is not None:
            handler.cancel()  # first, or it would report our own shutdown as a failure
            await asyncio.wait({handler}, timeout=1)
        try:
            async with asyncio.timeout(_SHUTDOWN_S + 2):
                await asyncio.to_thread(shutdown, **options)
        except TimeoutError:
            logger.warning("engine.shutdown_slow engine=vllm seconds=%.0f", _SHUTDOWN_S + 2)
        await asyncio.to_thread(kill, loaded.pids)
        if loaded.guard is not None:
            loaded.guard.close()
        close_sockets(llm)
        loaded.home.remove()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    async def _run(
        self, request: GenerateRequest, sampling: Sampling, kv_transfer_params: dict[str, Any] | None
    ) -> AsyncGenerator[Any, None]:
        """vLLM's increments for one request. Leaving early aborts it and frees all it holds, also a fresh pin."""
        self._refuse_what_cannot_run(request)
        if sampling.grammar is not None and self._engine.guard is not None:
            await self._engine.guard.check(sampling.grammar)
        llm, number = self._engine.llm, next(self._numbers)
        hands_off = bool(kv_transfer_params and kv_transfer_params.get("do_remote_decode"))
        prompt: dict[str, Any] = {"type": "token", "prompt_token_ids": request.prompt_token_ids}
        if request.cache_salt is not None:
            prompt["cache_salt"] = request.cache_salt
        options: dict[str, Any] = {"priority": request.priority} if self._engine.by_priority else {}
        if request.lora_name is not None:
            options["lora_request"] = self._adapters.request(request.lora_name)
        if request.dp_rank is not None and self.facts.data_parallel_size > 1:
            options["data_parallel_rank"] = request.dp_rank
        self._active.add(number)
        self._unstarted[number] = request.prompt_tokens
        queue, finished = None, False
        try:
            with translated():
                params = sampling_params(sampling, kv_transfer_params=kv_transfer_params)
                queue = await llm.add_request(request.request_id, prompt, params, **options)
            while not finished:
                with translated():
                    output = queue.get_nowait() or await queue.get()
                finished = output.finished
                self._unstarted.pop(number, None)
                yield output
        finally:
            self._active.discard(number)
            self._unstarted.pop(number, None)
            if not finished and not self._is_dead():
                name = request.request_id if queue is None else queue.request_id
                with contextlib.suppress(EngineFailed), translated():  # it may die meanwhile
                    await llm.abort(name, internal=queue is not None)
                    if hands_off and queue is not None:
                        await self._release(queue.request_id)

    def _refuse_what_cannot_run(self, request: GenerateRequest) -> None:
        if self.capabilities.embeds:
            raise RequestError("this model writes no text: it embeds", param="model")
        if self._is_dead():
            raise EngineFailed(f"the engine died: {self._death.result() if self._death else ''}")
        if not request.prompt_token_ids:
            raise RequestError("the prompt is empty", param="prompt")
        limit = self.facts.max_model_len
        if request.prompt_tokens >= limit:
            message = f"the prompt has {request.prompt_tokens} tokens; the model takes {limit}, output included"
            raise ContextTooLong(message, param="prompt")

    async def _release(self, engine_request_id: str) -> None:
        """Free a finished prefill's blocks in the engine; nothing happens if they are free already."""
        self._pinned.pop(engine_request_id, None)
        for _ in range(_RELEASE_TRIES):
            if self._is_dead():
                return
            with translated():
                counts = await self._engine.llm.collective_rpc("tandem_release_handoffs", args=([engine_request_id],))
            if any(counts):
                return
            await asyncio.sleep(_RELEASE_PAUSE_S)

    def _is_dead(self) -> bool:
        return self._death is not None and self._death.done()

    async def _watch_processes(self) -> None:
        pids = self._engine.pids
        if pids:
            await wait_any_exit(pids)
        while not pids and not self._engine.llm.errored:  # noqa: ASYNC110 - a vLLM that keeps its processes elsewhere
            await asyncio.sleep(_DEATH_POLL_S)
        assert self._death is not None
        if not self._death.done():
            self._death.set_result(f"its process {' '.join(map(str, pids))} ended")


def _ended_badly(request: GenerateRequest, completion: Any) -> EngineFailed | RequestError:
    """What an answer without an end means: of a form that compiles nowhere, nothing was ever sampled."""
    grammar = request.sampling.grammar
    if completion.finish_reason == "error" and grammar is not None and not completion.token_ids:
        return RequestError(
            f"{grammar.field or 'the grammar'}: the engine cannot compile it", param=grammar.field or None
        )
    return EngineFailed(f"the engine ended a request with {completion.finish_reason!r}")


def _prefill_sampling(sampling: Sampling, *, first_token: bool) -> Sampling:
    """What the prefill engine samples: one token that is thrown away, or the first and one more.

    The one more makes the engine compute the first token's KV, so that the hand-off covers it.
    """
    if not first_token:
        return Sampling(max_tokens=1, temperature=0.0, ignore_eos=True)
    return msgspec.structs.replace(sampling, max_tokens=2, min_tokens=min(sampling.min_tokens, 2))
