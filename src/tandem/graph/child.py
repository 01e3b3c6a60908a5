"""One process of a deployment: its services, from the first message of the supervisor to the last.

    assign ─► import ─► load (before any connection) ─► connect ─► start ─► ready … ─► drain ─► exit

Runs in a process forked by the zygote, or executed anew as `python -m tandem.graph.child`.
"""

import asyncio
import gc
import json
import logging
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop

from tandem.errors import ConfigError, ServingError
from tandem.graph.configure import Configured, configure
from tandem.graph.control import Answer, Ask, Assign, Channel, Phase, State, Stop, receive_assign
from tandem.graph.hosting import House
from tandem.graph.loading import Graph, graph_of, load_entry
from tandem.graph.planes import runtime_planes
from tandem.graph.services import BUILT_IN
from tandem.graph.zygote import DOOR_FD
from tandem.observe import logs, metrics
from tandem.runtime.service import connect

log = logging.getLogger(__name__)

CONTROL_FD = 3
_CHECK_INTERVAL_S = 0.2
_CALM_CHECK_INTERVAL_S = 1.0
"""Once ready: a process that serves has better things to do, and requests find out by themselves what is gone."""
_LIVENESS_INTERVAL_S = 5.0
_FAILED, _UNUSABLE = 1, 2


def main() -> int:
    """Returns the exit status: 0 stopped, 1 failed, 2 configured so that it cannot work."""
    sock = socket.socket(fileno=CONTROL_FD)
    sock.set_inheritable(False)
    try:
        assign = receive_assign(sock)
    except EOFError:
        return _FAILED
    logs.configure(assign.log_levels)
    try:
        graph = graph_of(load_entry(assign.target, Path(assign.working_dir)), assign.only)
        configured = configure(assign.deployment, graph, dict(os.environ), known=BUILT_IN)
        configured = replace(configured, planes=replace(configured.planes, hub_socket=assign.hub_socket))
        return uvloop.run(Process(assign, graph, configured, _shared_door(assign)).run(sock))
    except ConfigError as error:
        log.error("process.unusable %s", error)
        return _UNUSABLE
    except ServingError as error:
        log.error("process.failed code=%s %s", error.code, error)
        return _FAILED


class Process:
    """What runs in the loop."""

    def __init__(self, assign: Assign, graph: Graph, configured: Configured, shared_door: socket.socket | None) -> None:
        self._assign = assign
        self._configured = configured
        self._house = House(graph, configured, assign, shared_door)
        self._stop = asyncio.Event()
        self._drain_timeout_s = configured.supervisor.drain_timeout_s
        self._failure: str | None = None
        self._state: State | None = None

    async def run(self, sock: socket.socket) -> int:
        """Start, serve until told to stop, stop. Returns the exit status."""
        self._channel = await Channel.over(sock)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        listening = asyncio.create_task(self._listen(), name="control")
        serving = asyncio.create_task(self._serve(), name="serve")
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not serving.done():
                serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving  # raises why the start failed
        finally:
            await self._close()
            listening.cancel()
            stopping.cancel()
        return 0 if self._failure is None else _FAILED

    async def _serve(self) -> None:
        self._say("loading")
        await self._house.before_connect()
        self._say("connecting")
        planes = runtime_planes(self._configured.planes, drain_timeout_s=self._drain_timeout_s)
        self._runtime = await connect(planes)
        self._say("starting")
        await self._house.start(self._runtime)
        _settle_garbage()
        async with asyncio.TaskGroup() as group:
            for hosted in self._house.hosted.values():
                for hook in hosted.hooks("wait_dead"):
                    group.create_task(self._watch_death(hosted.name, hook))
            group.create_task(self._check())

    async def _check(self) -> None:
        """Tell the supervisor how ready we are, and end a process that its own check finds dead."""
        look_at_life = 0.0
        while True:
            reasons = [text for text in [await self._why_not_ready(each) for each in self._house.hosted] if text]
            report = await self._report()
            self._say(
                "waiting" if reasons else "ready",
                note="; ".join(dict.fromkeys(reasons)) or str(report.get("degraded") or ""),
                degraded=bool(report.get("degraded")),
                door=str(report.get("door") or ""),
                models=[str(each) for each in report.get("models") or ()],
            )
            if time.monotonic() >= look_at_life:
                look_at_life = time.monotonic() + _LIVENESS_INTERVAL_S
                for hosted in self._house.hosted.values():
                    if False in await hosted.run("liveness"):
                        self._end(f"{hosted.name}: its liveness check failed")
            await asyncio.sleep(_CHECK_INTERVAL_S if reasons else _CALM_CHECK_INTERVAL_S)

    async def _why_not_ready(self, name: str) -> str:
        for verdict in await self._house.hosted[name].run("readiness"):
            if verdict is False:
                return f"{name} is not ready"
            if isinstance(verdict, str) and verdict:
                return verdict
        return ""

    async def _report(self) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for hosted in self._house.hosted.values():
            for report in await hosted.run("status"):
                merged.update(report)
        return merged

    async def _watch_death(self, name: str, hook: Any) -> None:
        self._end(f"{name}: {await hook()}")

    def _end(self, reason: str) -> None:
        log.error("process.ends reason=%r", reason)
        self._failure = reason
        self._drain_timeout_s = 0.0
        self._stop.set()

    async def _close(self) -> None:
        self._say("draining")
        runtime = getattr(self, "_runtime", None)
        await self._house.withdraw()
        await self._house.shut_down(self._drain_timeout_s)
        if runtime is not None:
            await runtime.server.drain(self._drain_timeout_s)
            await runtime.aclose()

    async def _listen(self) -> None:
        while (message := await self._channel.receive()) is not None:
            match message:
                case Stop(drain_timeout_s):
                    self._drain_timeout_s = drain_timeout_s
                    self._stop.set()
                case Ask(id, what, argument):
                    self._channel.send(Answer(id, await self._answer(what, argument)))
        os._exit(_FAILED)  # the supervisor is gone

    async def _answer(self, what: str, argument: str) -> bytes:
        try:
            if what == "metrics":
                return metrics.render("")[0]
            if what == "status":
                status = {name: await hosted.run("status") for name, hosted in self._house.hosted.items()}
                return json.dumps({name: _merged(parts) for name, parts in status.items()}, default=str).encode()
            for hosted in self._house.hosted.values():
                for told in await hosted.run("trace", argument):
                    if told:
                        return told if isinstance(told, bytes) else str(told).encode()
        except Exception:
            log.exception("process.cannot_answer what=%s", what)
        return b""

    def _say(self, phase: Phase, **values: Any) -> None:
        state = State(phase, **values)
        if state != self._state:
            self._state = state
            self._channel.send(state)


def _shared_door(assign: Assign) -> socket.socket | None:
    """The socket of a front door that several processes answer on."""
    if not assign.shares_door:
        return None
    door = socket.socket(fileno=DOOR_FD)
    door.set_inheritable(False)
    return door


def _settle_garbage() -> None:
    """What is loaded now stays: the collector need not walk it for every few hundred requests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _merged(parts: list[Any]) -> dict[str, Any]:
    return {key: value for part in parts for key, value in part.items()}


if __name__ == "__main__":
    sys.exit(main())
