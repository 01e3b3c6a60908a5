"""What wakes a vLLM engine on a CPU while it has nothing to do, and how it is let sleep.

Each function is a cure that `vllm_plugin.register` applies. Without them an idle engine that hands KV over takes a
whole core (NIXL's spin), then some 2 % of one: a hundred looks a second in each of 13 Gloo threads, 500 in NIXL's.
"""

import importlib
import os
import queue
import time
from typing import Any

from tandem.engines.vllm.overlay import Overlay

PROGRESS_DELAY_US = 2_000
"""How long an idle NIXL agent sleeps before it looks by itself, in microseconds. At 100 ms a hand-over takes 10 ms more
(25 beside 14 on two cores), at 2 ms three idle engines together take another 1 % of a core."""

_PAUSE_SHARE, _LONGEST_PAUSE_S = 0.05, 0.02
"""How long an engine that only waits sleeps between two looks: as a share of the time waited, and at most. Seconds."""

_PATIENCE = 5
"""How many times longer than vLLM asks its publisher of KV events waits for an event. It then looks whether anybody
wants events again, so a reader waits for that half a second at most, not 0.1 s."""


def let_nixl_idle() -> None:
    """Let NIXL's progress thread sleep between looks. Without: each idle engine burns a whole core.

    NIXL's Python API writes 0 into `pthrDelay` and offers no key for it, so the config object that it
    fills in is wrapped here and keeps our value instead.
    """
    module = nixl_api()
    if module is None:
        return
    binding = module.nixlBind
    original = binding.nixlAgentConfig

    class IdlingConfig(original):  # type: ignore[misc, valid-type]
        """The agent's settings, with a progress thread that sleeps."""

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, max(int(value), PROGRESS_DELAY_US) if name == "pthrDelay" else value)

    IdlingConfig.pthrDelay  # noqa: B018 - AttributeError here is the warning that the name has moved
    module.nixlBind = Overlay(binding, nixlAgentConfig=IdlingConfig)


def share_gloo_loop() -> None:
    """Give all process groups of one rank one Gloo device. Without: each of an engine's 13 groups has its own, and
    every device has a thread that wakes a hundred times a second, with nobody to talk to.
    """
    gloo = importlib.import_module("torch.distributed.distributed_c10d").ProcessGroupGloo
    original, devices = gloo.__init__, dict[int, Any]()
    new_options, new_device = gloo._Options, gloo.create_default_device

    def init(self: Any, store: Any, rank: int, size: int, *args: Any, **kwargs: Any) -> None:
        if size > 1 or args or set(kwargs) - {"timeout"}:
            original(self, store, rank, size, *args, **kwargs)
            return
        options = new_options()
        if "timeout" in kwargs:
            options._timeout = kwargs["timeout"]
        pid = os.getpid()  # its thread does not survive a fork
        if pid not in devices:
            devices[pid] = new_device()
        options._devices, options._threads = [devices[pid]], 1
        original(self, store, rank, size, options)

    gloo.__init__ = init


def let_events_wait() -> None:
    """Let the thread that publishes KV events wait longer for one. Without: it wakes ten times a second."""
    module: Any = importlib.import_module("vllm.distributed.kv_events")
    original: Any = module.Queue

    class PatientQueue(original):  # type: ignore[misc]
        """A queue whose reader has time; an item still wakes it at once."""

        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            return super().get(block, None if timeout is None else timeout * _PATIENCE)

    if not issubclass(original, queue.Queue):
        raise AttributeError("kv_events.Queue is no queue.Queue")
    module.Queue = PatientQueue


def back_off_polling() -> None:
    """Let an engine that has requests but nothing to compute look less and less often. Without: a quarter of a core for
    as long as a hand-off waits to be read.

    Such an engine waits for KV from a peer, or for a peer to read its own, and looks every millisecond. Here it looks
    after a twentieth of the time that it has waited, so it learns of the end at most 5 % later; a request wakes it.
    """
    core: Any = importlib.import_module("vllm.v1.engine.core").EngineCoreProc
    original = core._process_engine_step
    waiting_since: dict[int, float] = {}

    def step(self: Any) -> bool:
        executed: bool = original(self)
        if executed or type(self) is not core or not self.scheduler.has_requests():
            waiting_since.pop(id(self), None)
            return executed
        now = time.monotonic()
        pause_s = min((now - waiting_since.setdefault(id(self), now)) * _PAUSE_SHARE, _LONGEST_PAUSE_S)
        arrivals = self.input_queue
        with arrivals.not_empty:
            if pause_s and not arrivals.queue:
                arrivals.not_empty.wait(pause_s)
        return executed

    core._process_engine_step = step


def nixl_api() -> Any:
    """The NIXL Python API that vLLM will use, or None when NIXL is not installed."""
    for name in ("nixl_cu13._api", "nixl_cu12._api", "nixl._api"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        if hasattr(module, "nixlBind"):
            return module
    return None
