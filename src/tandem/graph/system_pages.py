"""What the system port says: /live, /ready, /metrics, /status, /trace/ID, asked of the processes behind it."""

import asyncio
import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from urllib.parse import unquote

from tandem.graph.control import State, What
from tandem.graph.exposition import merge
from tandem.graph.launch import Launch
from tandem.graph.plan import ProcessPlan
from tandem.graph.processes import Running
from tandem.graph.system_port import Page, text


class SlotView(Protocol):
    """What the pages need to know of a process."""

    plan: ProcessPlan
    running: Running | None
    started_at: float
    restarts: int

    @property
    def state(self) -> State: ...


def ready_verdict(slots: Sequence[SlotView], stopping: bool) -> tuple[bool, list[str]]:
    """Whether requests can be served, and what to know about it: why not, or in what way it is degraded."""
    if stopping:
        return False, ["stopping"]
    notes = [
        f"{slot.plan.name}: {slot.state.note or slot.state.phase}" for slot in slots if slot.state.phase != "ready"
    ]
    if notes:
        return False, notes
    return True, [f"degraded: {slot.plan.name}: {slot.state.note}" for slot in slots if slot.state.degraded]


def merge_stories(pages: Sequence[bytes]) -> dict[str, Any]:
    """What several processes tell of one request, as one story sorted by time."""
    stories = [json.loads(page) for page in pages]
    stages = {json.dumps(stage, sort_keys=True): stage for story in stories for stage in story["stages"]}
    return {
        "request_id": stories[0]["request_id"],
        "stages": sorted(stages.values(), key=lambda stage: float(stage["at"])),
        "dropped": sum(story.get("dropped", 0) for story in stories),
    }


class SystemPages:
    """Answers for `SystemPort`."""

    def __init__(self, launch: Launch, slots: Sequence[SlotView], stopping: Callable[[], bool]) -> None:
        self._launch = launch
        self._slots = slots
        self._stopping = stopping
        self._started_at = time.time()

    async def answer(self, path: str) -> Page:
        """The page of `path`."""
        match path.strip("/").split("/", 1):
            case ["live" | "health"]:
                return text(200, "live")
            case ["ready"]:
                ready, notes = ready_verdict(self._slots, self._stopping())
                return text(200 if ready else 503, "\n".join(["ready" if ready else "not ready", *notes]))
            case ["metrics"]:
                pages = await self._ask("metrics")
                merged = merge({name: page.decode() for name, page in pages.items()})
                return 200, "text/plain; version=0.0.4; charset=utf-8", (merged + self._own_metrics()).encode()
            case ["status"]:
                return 200, "application/json", json.dumps(await self._status()).encode()
            case ["trace", request_id]:
                told = list((await self._ask("trace", unquote(request_id))).values())
                if not told:
                    return text(404, f"no process here remembers request {request_id}")
                return 200, "application/json", json.dumps(merge_stories(told)).encode()
            case _:
                return text(404, "/live /ready /metrics /status /trace/REQUEST_ID")

    async def _ask(self, what: What, argument: str = "") -> dict[str, bytes]:
        asked = {slot.plan.name: slot.running for slot in self._slots if slot.running}
        pages = await asyncio.gather(*(running.ask(what, argument) for running in asked.values()))
        return {name: page for name, page in zip(asked, pages, strict=True) if page}

    async def _status(self) -> dict[str, Any]:
        told = {name: json.loads(page) for name, page in (await self._ask("status")).items()}
        ready, notes = ready_verdict(self._slots, self._stopping())
        return {
            "pid": os.getpid(),
            "graph": self._launch.target,
            "namespace": self._launch.configured.planes.namespace,
            "started_at": self._started_at,
            "ready": ready,
            "notes": notes,
            "processes": [self._process(slot, told.get(slot.plan.name, {})) for slot in self._slots],
        }

    def _process(self, slot: SlotView, services: dict[str, Any]) -> dict[str, Any]:
        return {
            "name": slot.plan.name,
            "pid": slot.running.pid if slot.running else None,
            "phase": slot.state.phase,
            "note": slot.state.note,
            "degraded": slot.state.degraded,
            "door": slot.state.door,
            "restarts": slot.restarts,
            "gpus": None if slot.plan.gpus is None else list(slot.plan.gpus),
            "uptime_s": round(time.monotonic() - slot.started_at, 1) if slot.running else 0.0,
            "services": {name: services.get(name, {}) for name in slot.plan.services},
        }

    def _own_metrics(self) -> str:
        ready, _ = ready_verdict(self._slots, self._stopping())
        lines = [
            "# HELP tandem_ready Whether this supervisor's processes can serve requests.",
            "# TYPE tandem_ready gauge",
            f"tandem_ready {int(ready)}",
            "# HELP tandem_process_up Whether a process runs.",
            "# TYPE tandem_process_up gauge",
            *(f'tandem_process_up{{process="{s.plan.name}"}} {int(s.running is not None)}' for s in self._slots),
            "# HELP tandem_process_restarts_total Restarts of a process since this supervisor started.",
            "# TYPE tandem_process_restarts_total counter",
            *(f'tandem_process_restarts_total{{process="{s.plan.name}"}} {s.restarts}' for s in self._slots),
        ]
        return "\n".join(lines) + "\n"
