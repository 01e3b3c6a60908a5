"""The processes of a plan, each over all its restarts."""

import asyncio
import signal
import socket
import time
from dataclasses import dataclass, field
from typing import Protocol

from tandem.errors import Unavailable
from tandem.graph.console import Console
from tandem.graph.control import Assign, State
from tandem.graph.launch import Launch
from tandem.graph.notices import phase_text, status_text
from tandem.graph.plan import ProcessPlan
from tandem.graph.processes import Running, ZygoteClient
from tandem.graph.restarts import GiveUp, Restart, RestartRules, after_crash
from tandem.settings.document import as_json

GAVE_UP, UNUSABLE = 1, 2
"""Exit statuses: it keeps failing; its configuration cannot work."""


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


class Host(Protocol):
    """What a slot's keeper needs of the supervisor."""

    door: socket.socket | None
    """Of a front door with several processes: theirs are copies, so a connection waits for any of them."""

    @property
    def stopping(self) -> bool:
        """Whether nothing is to be started any more."""

    def zygote(self, preload: str | None) -> ZygoteClient:
        """One that lives, with this engine imported."""

    def assign(self, plan: ProcessPlan) -> Assign:
        """What a process is told that it is."""

    def changed(self) -> None:
        """A process says that it is further than it was, or less far."""

    def end(self, status: int, why: str) -> None:
        """Stop everything."""


class Keeper:
    """Keeps one slot's process running: starts it, and again after a crash, with growing pauses."""

    def __init__(self, slot: Slot, host: Host, launch: Launch, console: Console) -> None:
        self._slot = slot
        self._host = host
        self._launch = launch
        self._console = console

    async def keep(self) -> None:
        """Until the host stops, or the process is given up."""
        slot, host, rules = self._slot, self._host, self._rules()
        name = slot.plan.name
        while not host.stopping:
            status = await self._run_once()
            if host.stopping:
                return
            if status == UNUSABLE and not slot.was_ready:
                host.end(UNUSABLE, f"{name} cannot work with this configuration; its reason is above")
                return
            slot.crashes.append(time.monotonic())
            match after_crash(rules, slot.crashes, slot.crashes[-1]):
                case GiveUp(crashes):
                    host.end(GAVE_UP, f"{name} ended {crashes} times; giving up")
                    return
                case Restart(delay_s):
                    slot.note = f"ended with {status_text(status)}; starts again"
                    self._console.notice(
                        f"{name} ended with {status_text(status)}; starts again in {delay_s:g} s", loud=True
                    )
                    slot.restarts += 1
                    await asyncio.sleep(delay_s)

    def _rules(self) -> RestartRules:
        settings = self._launch.configured.supervisor
        return RestartRules(
            max_restarts=settings.max_restarts,
            restart_window_s=settings.restart_window_s,
            restart_delay_s=settings.restart_delay_s,
            restart_delay_max_s=settings.restart_delay_max_s,
        )

    async def _run_once(self) -> int:
        slot, plan = self._slot, self._slot.plan
        zygote = self._host.zygote(plan.preload)
        slot.started_at = time.monotonic()
        try:
            running = await Running.start(
                zygote,
                self._host.assign(plan),
                env=environment(self._launch, plan),
                anew=plan.launch == "spawn",
                on_line=self._console.relay(plan.name),
                on_state=self._changed,
                door=self._host.door if plan.shares_door else None,
            )
        except Unavailable:
            return -signal.SIGKILL
        slot.running = running
        try:
            return await running.over()
        finally:
            slot.running = None

    def _changed(self, state: State) -> None:
        slot, took_s = self._slot, time.monotonic() - self._slot.started_at
        text = phase_text(state, took_s, was_ready=slot.was_ready, was_degraded=slot.was_degraded)
        if text is not None:
            self._console.notice(f"{slot.plan.name}: {text}")
        if state.phase == "ready":
            slot.was_ready, slot.was_degraded = True, state.degraded
        self._host.changed()


def environment(launch: Launch, plan: ProcessPlan) -> dict[str, str]:
    """Variables of a process."""
    env = {
        **launch.environ,
        "DYNAMO_SERVICE_CONFIG": as_json(launch.deployment),
        "PYTHONUNBUFFERED": "1",
    }
    if plan.gpus is not None:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(plan.gpus)
    return {**env, **plan.envs}


async def gone(stopping: list[Running], timeout_s: float, *, hurry: asyncio.Event, kill_timeout_s: float) -> None:
    """Wait for processes to exit; after `timeout_s`, or when there is a hurry, kill them."""
    if not stopping:
        return
    hurried = asyncio.create_task(hurry.wait())
    exits = asyncio.ensure_future(asyncio.wait([running.exited for running in stopping]))
    await asyncio.wait({hurried, exits}, timeout=max(0.0, timeout_s), return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    exits.cancel()
    late = [running for running in stopping if not running.exited.done()]
    for running in late:
        running.kill()
    if late:
        await asyncio.wait([running.exited for running in late], timeout=kill_timeout_s)
