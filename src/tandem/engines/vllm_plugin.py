"""What vLLM needs to run prefill and decode apart. vLLM calls `register` in each of its processes.

Each cure is a function that says what goes wrong without it. On a GPU only `keep_answering_handshakes` and
`skip_last_collection` act. A cure whose target has moved in a newer vLLM warns once with the name, and the rest go on.
Processes that are forked from one where `register` has run inherit everything it did.
"""

import importlib
import logging
import os
from collections.abc import Callable

from tandem.engines.vllm.handshakes import keep_answering_handshakes
from tandem.engines.vllm.idle import back_off_polling, let_events_wait, let_nixl_idle, nixl_api, share_gloo_loop
from tandem.engines.vllm.noise import quieten
from tandem.engines.vllm.overlay import Overlay

logger = logging.getLogger(__name__)

_done: set[str] = set()


def register() -> None:
    """Entry point of the group `vllm.general_plugins`. Safe to repeat."""
    die_with_parent()
    nixl_api()  # its logging is set up at import, to stdout
    quieten()
    try:
        from vllm.platforms import current_platform
    except ImportError:
        return
    cures = [keep_answering_handshakes, skip_last_collection]
    if current_platform.is_cpu():
        cures += [permit_amx, keep_all_cores, let_nixl_idle, share_gloo_loop, let_events_wait, back_off_polling]
    for cure in cures:
        if cure.__name__ not in _done:
            _done.add(cure.__name__)
            _apply(cure)


def _apply(cure: Callable[[], None]) -> None:
    try:
        cure()
    except (ImportError, AttributeError) as error:
        logger.warning("vllm.cure_not_applied cure=%s reason=%s", cure.__name__, error)


def permit_amx() -> None:
    """Ask the kernel for the AMX tile registers. Without: SIGILL in the first forward pass of a decode engine.

    vLLM picks its AMX kernels from what the processor can do; Linux lets a process use them only after it
    has asked. A prefill engine is saved by oneDNN, which asks; a decode engine that only pulls KV is not.
    """
    torch = importlib.import_module("torch")
    if torch.cpu._is_amx_tile_supported():
        torch.cpu._init_amx()


def keep_all_cores() -> None:
    """Keep engines off a single core. Without: prefill and decode engines of a host all share its last core.

    vLLM's NIXL connector pins its process to the last core of each NUMA node, which it learns from this method.
    """
    from vllm.platforms.cpu import CpuPlatform

    CpuPlatform.discover_numa_topology  # noqa: B018 - as above
    CpuPlatform.discover_numa_topology = classmethod(lambda cls: [])


def skip_last_collection() -> None:
    """Keep a stopping engine from walking every object of every library once more. Without: a stop takes so long that
    vLLM kills the engine, and says so.

    It thaws what it froze at its start, for engines that share a process with others; ours has a process to itself.
    """
    module = importlib.import_module("vllm.v1.engine.core")
    module.gc.unfreeze  # noqa: B018 - as above
    module.gc = Overlay(module.gc, unfreeze=lambda: None)  # type: ignore[attr-defined]


def die_with_parent() -> None:
    """End this process when the one named in TANDEM_ENGINE_PARENT ends, however it ends.

    Set by the adapter for processes that vLLM spawns; only a direct child acts on it.
    """
    wanted = os.environ.get("TANDEM_ENGINE_PARENT", "")
    if wanted and wanted == str(os.getppid()):
        bind_to_parent(int(wanted))


def bind_to_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent`, its direct parent, dies (Linux)."""
    import ctypes
    import signal

    set_death_signal = 1  # PR_SET_PDEATHSIG
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(set_death_signal, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)
