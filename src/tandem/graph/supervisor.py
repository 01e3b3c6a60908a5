"""`tandem serve`: starts the processes of a plan, keeps them running, stops them in order.

    start   system port ─► hub ─► zygotes ─► processes
    stop    entry processes drain ─► the others drain ─► zygotes ─► hub ─► system port

It imports no torch and forks no engine. A second signal hurries; a process that keeps failing ends us with
a status other than 0, so that whoever supervises us knows.
"""

import asyncio
import signal
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import uvloop

from tandem.errors import Unavailable
from tandem.frontend.port import take
from tandem.graph.console import Console
from tandem.graph.control import Assign, State
from tandem.graph.gpus import GpuClaims
from tandem.graph.group import GroupSeat, MeetingPlace, NoPlaceYet, read_place
from tandem.graph.hub_seat import HubSeat
from tandem.graph.launch import Launch, with_gpus
from tandem.graph.plan import ProcessPlan
from tandem.graph.planes import is_far, mixed_notice, needs_hub
from tandem.graph.processes import Running, ZygoteClient
from tandem.graph.restarts import GiveUp, Restart, RestartRules, after_crash
from tandem.graph.runtime_dir import Entry, hub_socket, runtime_dir
from tandem.graph.system_pages import SystemPages
from tandem.graph.system_port import SystemPort
from tandem.graph.zygote import Preloaded
from tandem.observe import logs
from tandem.settings import FrontendSettings
from tandem.settings.document import as_json

_GAVE_UP, _UNUSABLE = 1, 2
_NEIGHBOURS_S = 3.0
"""So long a service that lacks another may have the door's line wait: the other is about to be seen."""


def serve(launch: Launch) -> int:
    """Run until a signal or until a process keeps failing. Returns the exit status."""
    levels = _log_levels(launch.configured.supervisor.log_level, launch.verbosity)
    logs.configure(levels)
    folder = runtime_dir(launch.configured.supervisor.runtime_dir, launch.environ)
    claims = GpuClaims(folder / "gpus")
    try:
        launch = with_gpus(launch, claims)
        return uvloop.run(Supervisor(launch, folder, levels).run())
    finally:
        claims.close()


def _log_levels(levels: str, verbosity: int) -> str:
    """`-v` and `-q` move the default level by one."""
    order = ["error", "warning", "info", "debug"]
    first, _, rest = levels.partition(",")
    if verbosity and first in order:
        first = order[min(max(order.index(first) + verbosity, 0), len(order) - 1)]
    return f"{first},{rest}" if rest else first


@dataclass(slots=True)
class Slot:
    """A process of the plan, over all its restarts."""

    plan: ProcessPlan
    running: Running | None = None
    started_at: float = 0.0
    was_ready: bool = False
    was_degraded: bool = False
    crashes: list[float] = field(default_factory=list)
    restarts: int = 0
    note: str = "not started"

    @property
    def state(self) -> State:
        """How far it is."""
        return self.running.state if self.running else State("importing", self.note)


class Supervisor:
    """The loop's owner."""

    def __init__(self, launch: Launch, folder: Path, log_levels: str) -> None:
        self._launch = launch
        self._settings = launch.configured.supervisor
        self._folder = folder
        self._log_levels = log_levels
        self._console = Console(quiet=launch.verbosity < 0)
        self.slots = [Slot(process) for process in launch.plan.processes]
        self._zygotes: dict[str | None, ZygoteClient] = {}
        self._verdict: asyncio.Future[int] | None = None
        self._stopping = False
        self._hurry = asyncio.Event()
        self._seat: HubSeat | GroupSeat | None = None
        self._door: socket.socket | None = None
        """Of a front door with several processes: theirs are copies, so a connection waits for any of them."""
        self._door_shown = ""
        self._pages = SystemPages(launch, self.slots, lambda: self._stopping)
        self._port = SystemPort(self._pages.answer)
        self._entry = Entry(folder)

    async def run(self) -> int:
        """Start, wait, stop."""
        self._verdict = asyncio.get_running_loop().create_future()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._signalled, number)
        keepers: list[asyncio.Task[None]] = []
        try:
            await self._open()
            keepers = [asyncio.create_task(self._keep(slot), name=slot.plan.name) for slot in self.slots]
            for keeper in keepers:
                keeper.add_done_callback(self._keeper_ended)
            status = await self._verdict
            await self._stop()
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
            await self._close()
        return status

    # ── start ────────────────────────────────────────────────────────────────────────────────────

    async def _open(self) -> None:
        if any(slot.plan.shares_door for slot in self.slots):
            front = self._launch.configured.of(FrontendSettings)
            self._door = take(front.host, front.port)
        self._console.expect([slot.plan.name for slot in self.slots])
        settings = self._settings
        if not await self._port.start(settings.system_host, settings.system_port) and settings.system_port:
            self._console.notice(f"port {settings.system_port} is taken; system port is {self._port.port}")
        await self._open_hub()
        self._entry.write(
            system_port=self._port.port,
            graph=self._launch.target,
            namespace=self._launch.configured.planes.namespace,
            started_at=time.time(),
        )
        for process in self._launch.plan.processes:
            if process.preload not in self._zygotes:
                self._new_zygote(process.preload)

    async def _open_hub(self) -> None:
        planes = self._launch.configured.planes
        place = None if planes.hub_socket else await self._place()
        notice = mixed_notice(planes, reach="its group" if place or is_far(planes.hub_socket) else "this host")
        if notice:
            self._console.notice(notice, loud=True)
        if place is not None:
            self._seat = GroupSeat(place, planes.group_port, planes.group_token)
        elif needs_hub(planes) and not planes.hub_socket:
            self._seat = HubSeat(hub_socket(self._folder, planes.namespace))
        if self._seat is not None:
            hosts = await self._seat.take()
            spare = "" if needs_hub(planes) else ", for instances while etcd is late or away"
            self._console.notice(f"{'hosts' if hosts else 'joins'} the embedded planes at {self._seat.address}{spare}")

    async def _place(self) -> MeetingPlace | None:
        """Where our group of pods meets. Without etcd it is waited for: nobody could be found otherwise."""
        planes, told = self._launch.configured.planes, False
        while isinstance(place := read_place(planes.group_file, self._launch.environ), NoPlaceYet):
            if not needs_hub(planes) or self._stops():
                return None
            if not told:
                self._console.notice(f"waiting for a pod of role {place.role}: it hosts the planes of this group")
                told = True
            await asyncio.sleep(1.0)
        return place

    def _new_zygote(self, engine: str | None) -> ZygoteClient:
        zygote = self._zygotes[engine] = ZygoteClient(self._preloaded)
        zygote.start(self._launch.environ)
        sweep = [str(self._entry.path)]
        if isinstance(self._seat, HubSeat) and self._seat.hosting:
            sweep.append(str(self._seat.socket))
        zygote.sweep(sweep)
        if engine is not None:
            self._console.notice(f"importing engine {engine}")
            zygote.preload(engine)
        return zygote

    def _preloaded(self, done: Preloaded) -> None:
        if done.error:
            self._console.notice(f"engine {done.engine} does not import: {done.error}", loud=True)
        elif done.seconds > 0.5:
            self._console.notice(f"engine {done.engine} imported in {done.seconds:.1f} s")

    # ── one process, over its restarts ───────────────────────────────────────────────────────────

    async def _keep(self, slot: Slot) -> None:
        rules = RestartRules(
            max_restarts=self._settings.max_restarts,
            restart_window_s=self._settings.restart_window_s,
            restart_delay_s=self._settings.restart_delay_s,
            restart_delay_max_s=self._settings.restart_delay_max_s,
        )
        name = slot.plan.name
        while not self._stopping:
            status = await self._run_once(slot)
            if self._stopping:
                return
            if status == _UNUSABLE and not slot.was_ready:
                self._end(_UNUSABLE, f"{name} cannot work with this configuration; its reason is above")
                return
            slot.crashes.append(time.monotonic())
            match after_crash(rules, slot.crashes, slot.crashes[-1]):
                case GiveUp(crashes):
                    self._end(_GAVE_UP, f"{name} ended {crashes} times; giving up")
                    return
                case Restart(delay_s):
                    slot.note = f"ended with {_status_text(status)}; starts again"
                    self._console.notice(
                        f"{name} ended with {_status_text(status)}; starts again in {delay_s:g} s", loud=True
                    )
                    slot.restarts += 1
                    await asyncio.sleep(delay_s)

    async def _run_once(self, slot: Slot) -> int:
        plan = slot.plan
        zygote = self._zygotes.get(plan.preload)
        if zygote is None or not zygote.alive:
            zygote = self._new_zygote(plan.preload)
        slot.started_at = time.monotonic()
        try:
            running = await Running.start(
                zygote,
                self._assign(plan),
                env=self._environment(plan),
                anew=plan.launch == "spawn",
                on_line=self._console.relay(plan.name),
                on_state=lambda state: self._changed(slot, state),
                door=self._door if plan.shares_door else None,
            )
        except Unavailable:
            return -signal.SIGKILL
        slot.running = running
        try:
            return await running.over()
        finally:
            slot.running = None

    def _assign(self, plan: ProcessPlan) -> Assign:
        launch = self._launch
        planes = launch.configured.planes
        joined = self._seat.address if self._seat else planes.hub_socket
        return Assign(
            name=plan.name,
            target=launch.target,
            working_dir=str(launch.working_dir),
            only=launch.only,
            services=plan.services,
            worker=plan.worker,
            workers=plan.workers,
            shares_door=plan.shares_door,
            deployment=launch.deployment,
            hub_socket=joined if needs_hub(planes) or is_far(joined) else None,
            system_port=self._port.port,
            depends=dict(launch.depends),
            log_levels=self._log_levels,
        )

    def _environment(self, plan: ProcessPlan) -> Mapping[str, str]:
        env = {
            **self._launch.environ,
            "DYNAMO_SERVICE_CONFIG": as_json(self._launch.deployment),
            "PYTHONUNBUFFERED": "1",
        }
        if plan.gpus is not None:
            env["CUDA_VISIBLE_DEVICES"] = ",".join(plan.gpus)
        return {**env, **plan.envs}

    def _changed(self, slot: Slot, state: State) -> None:
        name, took = slot.plan.name, time.monotonic() - slot.started_at
        match state.phase:
            case "loading" | "connecting":
                self._console.notice(f"{name}: {state.phase}")
            case "waiting":
                self._console.notice(f"{name}: waiting: {state.note}")
            case "ready":
                words = f"degraded: {state.note}" if state.degraded else f"ready after {took:.1f} s"
                if not slot.was_ready or state.degraded or slot.was_degraded:
                    self._console.notice(f"{name}: {words}")
                slot.was_ready, slot.was_degraded = True, state.degraded
        self._show_door()

    def _show_door(self, *, patient: bool = True) -> None:
        """Say how to ask, once everything that is started here has been ready: whoever asks gets the whole service.

        What is degraded may only not have seen its neighbours yet: it gets a moment.
        """
        if self._stopping or not all(slot.was_ready for slot in self.slots):
            return
        if patient and any(slot.was_degraded for slot in self.slots):
            asyncio.get_running_loop().call_later(_NEIGHBOURS_S, partial(self._show_door, patient=False))
            return
        for slot in self.slots:
            if slot.state.door and slot.state.phase == "ready" and slot.state.door != self._door_shown:
                self._door_shown = slot.state.door
                self._console.result(_curl(slot.state))

    # ── stop ─────────────────────────────────────────────────────────────────────────────────────

    def _signalled(self, number: int) -> None:
        if self._stops():
            self._console.notice("second signal: stopping now", loud=True)
            self._hurry.set()
            return
        drain = self._settings.drain_timeout_s
        self._end(
            0, f"{signal.Signals(number).name}: stopping; running requests have {drain:g} s, a second signal hurries"
        )

    def _stops(self) -> bool:
        return self._stopping or (self._verdict is not None and self._verdict.done())

    def _end(self, status: int, why: str) -> None:
        self._console.notice(why, loud=True)
        if self._verdict is not None and not self._verdict.done():
            self._verdict.set_result(status)

    def _keeper_ended(self, keeper: asyncio.Task[None]) -> None:
        fault = None if keeper.cancelled() else keeper.exception()
        if fault is not None and self._verdict is not None and not self._verdict.done():
            self._verdict.set_exception(fault)

    async def _stop(self) -> None:
        self._stopping = True
        self._close_door()
        until = time.monotonic() + self._settings.drain_timeout_s
        for entry in (True, False):
            stopping = [slot.running for slot in self.slots if slot.running and slot.plan.entry == entry]
            left = max(0.0, until - time.monotonic())
            for running in stopping:
                if running.state.phase in (
                    "importing",
                    "loading",
                ):  # an engine that loads hears nothing, and has no work
                    running.kill()
                running.stop(left)
            await self._gone(stopping, left + self._settings.stop_timeout_s)

    async def _gone(self, stopping: list[Running], timeout_s: float) -> None:
        """Wait for processes to exit; after `timeout_s`, or a second signal, kill them."""
        if not stopping:
            return
        hurry = asyncio.create_task(self._hurry.wait())
        exits = asyncio.ensure_future(asyncio.wait([running.exited for running in stopping]))
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await asyncio.wait({hurry, exits}, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        exits.cancel()
        late = [running for running in stopping if not running.exited.done()]
        for running in late:
            running.kill()
        if late:
            await asyncio.wait([running.exited for running in late], timeout=self._settings.stop_timeout_s)

    def _close_door(self) -> None:
        """Or connections would still be taken, and wait for nobody."""
        if self._door is not None:
            self._door.close()
            self._door = None

    async def _close(self) -> None:
        self._stopping = True
        self._close_door()
        for zygote in self._zygotes.values():
            zygote.close()
        if self._seat is not None:
            await self._seat.aclose()
        await self._port.aclose()
        self._entry.remove()


def _status_text(status: int) -> str:
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def _curl(state: State) -> str:
    model = state.models[0] if state.models else "MODEL"
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}], "max_tokens": 100}}'
    return f"curl {state.door}/v1/chat/completions -H 'Content-Type: application/json' -d '{body}'"
