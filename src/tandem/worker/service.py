"""An engine behind endpoints, in one role or both, from load to goodbye.

    load ─► start: endpoints ─► prefill queue ─► announce ─► … serve … ─► withdraw ─► drain ─► stop

The order is the point: nobody can route here before `announce`, nobody is cut off before `drain`. The queue is waited
for a moment only: without it a worker serves by itself.
Roles are registrations of one engine and can change without reloading it.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import AsyncGenerator, Coroutine, Sequence
from typing import Any, cast

import msgspec

from tandem.core.cards import InstanceCard, ModelCard, Role
from tandem.core.embeddings import EmbedOutput, EmbedRequest
from tandem.core.handoff import PrefillClaim, PrefillProgress, Verdict
from tandem.core.kv_updates import KvState, KvStateAsk
from tandem.core.request import STEP, GenerateRequest
from tandem.disagg.queue import PrefillQueue
from tandem.disagg.rules import DisaggRules, queue_name
from tandem.engines.ports import EmbeddingEngine, Engine
from tandem.observe import metrics
from tandem.runtime.ports import Registration, Runtime
from tandem.settings import DisaggSettings, WorkerSettings
from tandem.worker.decode import DecodeWorker
from tandem.worker.kv_updates import KvUpdates
from tandem.worker.lanes import Lanes
from tandem.worker.live import LiveRules
from tandem.worker.load import Activity, publish_load
from tandem.worker.peers import PrefillPeers
from tandem.worker.prefill import PrefillLimits, PrefillWorker
from tandem.worker.pulls import PullMeter
from tandem.worker.remote import DecodeIdentity, DecodeParts, DecodeTimes

log = logging.getLogger(__name__)

QUEUE_WAIT_S = 3.0
"""Longest wait for the prefill queue before a worker is announced: a bus that is there answers within a tenth of it."""


class EngineWorker:
    """One engine, registered as a decode worker, a prefill worker, or both.

    Args:
        engine: not loaded yet.
        components: the component's name per role (`{"decode": "VllmWorker", "prefill": "PrefillWorker"}`).
        roles: roles to start in.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        settings: WorkerSettings,
        disagg: DisaggSettings,
        components: dict[Role, str],
        roles: Sequence[Role],
        served_model_name: str,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._disagg = disagg
        self._components = components
        self._roles = tuple(roles)
        self._served_model_name = served_model_name
        self._rules = LiveRules(
            DisaggRules(
                remote_prefill=disagg.remote_prefill,
                conditional_disagg=disagg.conditional_disagg,
                max_local_prefill_length=disagg.max_local_prefill_length,
                max_prefill_queue_size=disagg.max_prefill_queue_size,
            )
        )
        self._activity = Activity()
        self._runtime: Runtime | None = None
        self._registrations: dict[Role, Registration] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def load(self) -> None:
        """Build the engine. Runs before this process opens any connection (it may fork)."""
        await self._engine.load()

    async def start(self, runtime: Runtime) -> None:
        """Open endpoints, then announce the roles."""
        self._runtime = runtime
        facts = self._engine.facts
        self.queue = queue = PrefillQueue(
            runtime.bus,
            queue_name(runtime.namespace, self._settings.model),
            ack_wait_s=self._disagg.ack_wait_s,
            clock=time.monotonic,
        )
        prefill_workers = runtime.instances(self._components["prefill"])
        peers = PrefillPeers(self._engine, view=prefill_workers, queue=queue, rules=self._rules)
        self._decode = DecodeWorker(
            DecodeParts(
                engine=self._engine,
                identity=DecodeIdentity(instance_id=runtime.instance_id, address=runtime.server.address),
                queue=queue,
                peers=peers,
                times=DecodeTimes(prefill_timeout_s=self._disagg.prefill_timeout_s),
                pulls=PullMeter(self._engine),
            ),
            self._activity,
        )
        self._lanes = lanes = Lanes(
            runtime.instance_id,
            facts=facts,
            queue=queue,
            prefill_workers=prefill_workers,
            steal_after_s=self._disagg.steal_after_s,
        )
        self._prefill = PrefillWorker(
            self._engine,
            runtime,
            queue=queue,
            lanes=lanes,
            limits=PrefillLimits(token_budget=self._disagg.prefill_token_budget or facts.max_num_batched_tokens),
            activity=self._activity,
        )
        metrics.FAMILIAR.model = self._served_model_name
        runtime.serve("generate", GenerateRequest, STEP, self._decode.steps)
        if self._engine.capabilities.embeds:
            runtime.serve("embed", EmbedRequest, EmbedOutput, self._embed)
        # Requests that run when the worker is told to stop still wait for what prefill workers have to tell them.
        runtime.serve("claim", PrefillClaim, Verdict, self._decode.claim, to_the_end=True)
        runtime.serve("progress", PrefillProgress, Verdict, self._decode.progress, to_the_end=True)
        runtime.serve("reset_prefix_cache", Nothing, bool, self._reset_prefix_cache)
        runtime.serve("status", Nothing, dict[str, Any], self._status)
        if self._engine.capabilities.kv_events:
            updates = KvUpdates(
                self._engine, runtime, components=sorted(self._components.values()), model=self._served_model_name
            )
            runtime.serve("kv_state", KvStateAsk, KvState, updates.state)
            self._spawn("kv-updates", updates.publish())
        self._spawn("live-rules", self._rules.watch(runtime.store, self._served_model_name))
        self._spawn("prefill-peers", self._decode.watch_prefill_workers())
        self._spawn(
            "load",
            publish_load(
                self._engine,
                runtime,
                self._components.values(),
                activity=self._activity,
                interval_s=self._settings.load_report_interval_s,
            ),
        )
        if (self._disagg.remote_prefill or "prefill" in self._roles) and not await queue.reachable(
            timeout_s=QUEUE_WAIT_S
        ):
            log.warning("queue.away_at_start queue=%s waited_s=%g", queue.name, QUEUE_WAIT_S)
        await self.set_roles(self._roles)

    async def set_roles(self, roles: Sequence[Role]) -> None:
        """Be chosen for exactly these roles from now on. Work in progress goes on; the engine is not touched."""
        for role in list(self._registrations):
            if role not in roles:
                if role == "prefill":
                    self._stop_taking()
                await self._registrations.pop(role).withdraw()
        self._roles = tuple(roles)
        for role in roles:
            if role not in self._registrations:
                self._registrations[role] = await self._running.announce(self._card(role))
                if role == "prefill":
                    self._spawn("lanes", self._lanes.watch())
                    self._spawn("take-jobs", self._prefill.run())

    async def stop(self, drain_timeout_s: float) -> None:
        """Withdraw, let what runs finish for at most `drain_timeout_s`, free the engine. Safe to repeat."""
        if self._runtime is not None:
            self._stop_taking()
            for registration in self._registrations.values():
                await registration.withdraw()
            self._registrations.clear()
            await asyncio.gather(self._prefill.drain(drain_timeout_s), self._runtime.server.drain(drain_timeout_s))
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            await self._decode.aclose()
            self._runtime = None
        await self._engine.aclose()

    async def wait_dead(self) -> str:
        """Return, with the reason, when the engine has died."""
        return await self._engine.wait_dead()

    def status(self) -> dict[str, Any]:
        """What `tandem status` shows of this worker."""
        report = self._engine.load_report()
        totals = self._engine.transfer_totals()
        return {
            "instance": self._running.instance_id,
            "roles": list(self._roles),
            "requests": self._activity.requests,
            "prefill_jobs": self._prefill.running,
            "running": report.running,
            "waiting": report.waiting,
            "kv_blocks_used": report.kv_blocks_used,
            "kv_blocks_total": report.kv_blocks_total,
            "kv_bytes_received": totals.kv_bytes,
            "kv_transfers": totals.transfers,
            "kv_transfer_failures": totals.failures,
        }

    @property
    def _running(self) -> Runtime:
        assert self._runtime is not None, "used before start"
        return self._runtime

    def _card(self, role: Role) -> InstanceCard:
        facts = self._engine.facts
        return InstanceCard(
            instance_id=self._running.instance_id,
            namespace=self._running.namespace,
            component=self._components[role],
            endpoints=self._endpoints(role),
            address=self._running.server.address,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=time.time(),
            roles=[role],
            engine=facts,
            model=ModelCard(
                served_model_name=self._served_model_name,
                model_path=facts.model_path,
                max_model_len=facts.max_model_len,
            ),
            extra={"kv_updates": "1"} if self._engine.capabilities.kv_events else {},
        )

    def _endpoints(self, role: Role) -> list[str]:
        if role == "prefill":
            return []
        return ["embed"] if self._engine.capabilities.embeds else ["generate", "claim", "progress"]

    async def _embed(self, request: EmbedRequest) -> AsyncGenerator[EmbedOutput, None]:
        yield await cast(EmbeddingEngine, self._engine).embed(request)

    async def _reset_prefix_cache(self, _: "Nothing") -> AsyncGenerator[bool, None]:
        yield await self._engine.reset_prefix_cache()

    async def _status(self, _: "Nothing") -> AsyncGenerator[dict[str, Any], None]:
        yield self.status()

    def _stop_taking(self) -> None:
        for name in ("take-jobs", "lanes"):
            if taking := self._tasks.pop(name, None):
                taking.cancel()

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """A task that should never end by itself: when it does, that is a fault and is logged as one."""

        def over(task: asyncio.Task[None]) -> None:
            if not task.cancelled():
                log.error("worker.task_ended task=%s", name, exc_info=task.exception())

        self._tasks[name] = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[name].add_done_callback(over)


class Nothing(msgspec.Struct, frozen=True):
    """A request without content."""
