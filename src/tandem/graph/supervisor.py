"""`tandem serve`: starts the processes of a plan, keeps them running, stops them in order.

    start   system port ─► hub ─► zygotes ─► processes
    stop    entry processes drain ─► the others drain ─► zygotes ─► hub ─► system port

It imports no torch and forks no engine. A second signal hurries; a process that keeps failing ends us with
a status other than 0, so that whoever supervises us knows.

slots.py     one process over its restarts       zygotes.py   what they are forked from
notices.py   what is said of them
"""

import asyncio
import signal
import socket
import time
from functools import partial
from pathlib import Path

import uvloop

from tandem.frontend.port import take
from tandem.graph.console import Console
from tandem.graph.control import Assign
from tandem.graph.gpus import GpuClaims
from tandem.graph.group import GroupSeat, MeetingPlace, NoPlaceYet, read_place
from tandem.graph.hub_seat import HubSeat
from tandem.graph.launch import Launch, with_gpus
from tandem.graph.notices import curl_line, log_levels
from tandem.graph.plan import ProcessPlan
from tandem.graph.planes import is_far, mixed_notice, needs_hub
from tandem.graph.processes import ZygoteClient
from tandem.graph.runtime_dir import Entry, hub_socket, runtime_dir
from tandem.graph.slots import Keeper, Slot, gone
from tandem.graph.system_pages import SystemPages
from tandem.graph.system_port import SystemPort
from tandem.graph.zygotes import Zygotes
from tandem.observe import logs
from tandem.settings import FrontendSettings

_NEIGHBOURS_S = 3.0
"""So long a service that lacks another may have the door's line wait: the other is about to be seen."""


def serve(launch: Launch) -> int:
    """Run until a signal or until a process keeps failing. Returns the exit status."""
    levels = log_levels(launch.configured.supervisor.log_level, launch.verbosity)
    logs.configure(levels)
    folder = runtime_dir(launch.configured.supervisor.runtime_dir, launch.environ)
    claims = GpuClaims(folder / "gpus")
    try:
        launch = with_gpus(launch, claims)
        return uvloop.run(Supervisor(launch, folder, levels).run())
    finally:
        claims.close()


class Supervisor:
    """The loop's owner."""

    def __init__(self, launch: Launch, folder: Path, levels: str) -> None:
        self.slots = [Slot(process) for process in launch.plan.processes]
        self.door: socket.socket | None = None
        """Of a front door with several processes: theirs are copies, so a connection waits for any of them."""
        self._launch = launch
        self._settings = launch.configured.supervisor
        self._folder = folder
        self._log_levels = levels
        self._console = Console(quiet=launch.verbosity < 0)
        self._zygotes = Zygotes(launch.environ, self._console, sweep=self._sweep)
        self._verdict: asyncio.Future[int] | None = None
        self._stopping = False
        self._hurry = asyncio.Event()
        self._seat: HubSeat | GroupSeat | None = None
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
            keepers = [
                asyncio.create_task(Keeper(slot, self, self._launch, self._console).keep(), name=slot.plan.name)
                for slot in self.slots
            ]
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
            self.door = take(front.host, front.port)
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
            self._zygotes.get(process.preload)

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

    def _sweep(self) -> list[str]:
        """What lies in the file system as long as we live."""
        sweep = [str(self._entry.path)]
        if isinstance(self._seat, HubSeat) and self._seat.hosting:
            sweep.append(str(self._seat.socket))
        return sweep

    # ── what keepers of slots need ───────────────────────────────────────────────────────────────

    @property
    def stopping(self) -> bool:
        """See `slots.Host`."""
        return self._stopping

    def zygote(self, preload: str | None) -> ZygoteClient:
        """See `slots.Host`."""
        return self._zygotes.get(preload)

    def assign(self, plan: ProcessPlan) -> Assign:
        """See `slots.Host`."""
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

    def changed(self) -> None:
        """See `slots.Host`."""
        self._show_door()

    def end(self, status: int, why: str) -> None:
        """See `slots.Host`."""
        self._console.notice(why, loud=True)
        if self._verdict is not None and not self._verdict.done():
            self._verdict.set_result(status)

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
                self._console.result(curl_line(slot.state))

    # ── stop ─────────────────────────────────────────────────────────────────────────────────────

    def _signalled(self, number: int) -> None:
        if self._stops():
            self._console.notice("second signal: stopping now", loud=True)
            self._hurry.set()
            return
        drain = self._settings.drain_timeout_s
        self.end(
            0, f"{signal.Signals(number).name}: stopping; running requests have {drain:g} s, a second signal hurries"
        )

    def _stops(self) -> bool:
        return self._stopping or (self._verdict is not None and self._verdict.done())

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
            kill_timeout_s = self._settings.stop_timeout_s
            await gone(stopping, left + kill_timeout_s, hurry=self._hurry, kill_timeout_s=kill_timeout_s)

    def _close_door(self) -> None:
        """Or connections would still be taken, and wait for nobody."""
        if self.door is not None:
            self.door.close()
            self.door = None

    async def _close(self) -> None:
        self._stopping = True
        self._close_door()
        self._zygotes.close()
        if self._seat is not None:
            await self._seat.aclose()
        await self._port.aclose()
        self._entry.remove()
