"""Do the weights fit? Said before anything starts, with what was found and how to change it.

`shortage` and `summary` are pure; `check_fit` looks at model folders, GPUs and memory.
"""

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tandem.errors import ConfigError, ModelBroken
from tandem.graph.engine_keys import fetches_models, uses_gpu
from tandem.graph.launch import Launch
from tandem.models.manifest import refuse_half
from tandem.settings import ProcessorSettings, WorkerSettings
from tandem.settings.resolve import place_of

_WEIGHTS = ("*.safetensors", "*.bin")


@dataclass(frozen=True, slots=True)
class WorkerFit:
    """One service of engine workers against one place to run."""

    service: str
    weights: int
    """Bytes of all weights."""
    gpus: int
    """GPUs of one worker; 0 runs on the CPU."""
    memory: int
    """Bytes of one GPU that may be used, or of the host's free memory."""
    share: float = 0.9
    """`gpu-memory-utilization`."""
    workers: int = 1


def shortage(fit: WorkerFit) -> str | None:
    """Why it cannot fit, with both figures and what to change; None when it can, as far as weights go."""
    if fit.gpus:
        needed, there = fit.weights / fit.gpus, fit.memory * fit.share
        if needed <= there:
            return None
        needs_gpus = 1
        while fit.weights / needs_gpus > there and needs_gpus < 64:
            needs_gpus *= 2
        override = " ".join(
            f"--{fit.service}.{key}={needs_gpus}" for key in ("tensor-parallel-size", "ServiceArgs.resources.gpu")
        )
        return (
            f"{fit.service}: {_gb(fit.weights)} of weights on {fit.gpus} GPU of {_gb(fit.memory)} "
            f"({fit.share:.0%} usable) cannot fit; with more GPUs: {override}"
        )
    needed = fit.weights * fit.workers
    if needed <= fit.memory:
        return None
    return f"{fit.service}: {_gb(needed)} of weights for {fit.workers} workers, {_gb(fit.memory)} of memory is free"


def summary(fits: Sequence[WorkerFit], seen: int) -> str:
    """What was found, in one line."""
    used = sum(fit.gpus * fit.workers for fit in fits)
    each = "; ".join(f"{fit.service}: {_gb(fit.weights)} of weights over {fit.gpus} GPU(s)" for fit in fits)
    return f"GPUs seen {seen} of {_gb(fits[0].memory)}, used {used}; {each}"


def check_fit(launch: Launch) -> list[str]:
    """Notices about what was found.

    Raises:
        ConfigError: weights that cannot fit, or a model folder that is not there or half pulled.
    """
    if missing := [text for name in launch.graph.services if (text := _no_model(launch, name))]:
        raise ConfigError("\n".join(missing))
    models = {
        str(launch.working_dir / model)
        for service in launch.configured.services.values()
        for settings in service.settings.values()
        if (model := getattr(settings, "model", None))
    }
    if halves := half_models(models):
        raise ConfigError("\n".join(halves))
    sizes = gpu_bytes() if launch.machine.gpus else {}
    fits = [fit for name in launch.graph.services if (fit := _of(launch, name, sizes)) is not None]
    faults = [text for fit in fits if (text := shortage(fit))]
    if faults:
        raise ConfigError("\n".join(faults))
    on_gpu = [fit for fit in fits if fit.gpus]
    return [summary(on_gpu, len(launch.machine.gpus))] if on_gpu else []


def _no_model(launch: Launch, name: str) -> str | None:
    """Why a service will not find its model; None when it may."""
    settings = launch.configured.services[name].settings
    for cls, fetches in ((WorkerSettings, None), (ProcessorSettings, False)):
        made = settings.get(cls)
        if made is None or not made.model or (launch.working_dir / made.model).is_dir():
            continue
        if fetches is None:
            fetches = fetches_models(made.engine)
        if fetches and not is_path(made.model):
            continue
        place = place_of(launch.deployment.section(name), "model")
        return (
            f"{place}: model = {made.model!r}: there is no folder {launch.working_dir / made.model}; name a model "
            "folder, or fetch one with `tandem models pull`"
        )
    return None


def is_path(model: str) -> bool:
    """Whether it can only be a folder: a hub's names are `name` or `owner/name`."""
    return model.startswith(("/", ".", "~")) or model.count("/") > 1


def half_models(models: Iterable[str]) -> list[str]:
    """The sentence for each model folder whose pull or push has begun and not ended."""
    found = []
    for model in sorted(models):
        try:
            refuse_half(Path(model))
        except ModelBroken as error:
            found.append(str(error))
    return found


def weights_bytes(model: str) -> int:
    """Bytes of a model folder's weights; 0 when it is no folder, or empty as long as it is being mounted."""
    folder = Path(model)
    for pattern in _WEIGHTS:
        found = sum(path.stat().st_size for path in folder.glob(pattern)) if folder.is_dir() else 0
        if found:
            return found
    return 0


def gpu_bytes() -> Mapping[str, int]:
    """Memory of each GPU by id, asked of the driver's own tool; empty when it is not there."""
    query = ["nvidia-smi", "--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    found = {}
    for line in answer.splitlines():
        index, uuid, mebibytes = (part.strip() for part in line.split(","))
        found[index] = found[uuid] = int(mebibytes) << 20
    return found


def _of(launch: Launch, name: str, sizes: Mapping[str, int]) -> WorkerFit | None:
    service = launch.configured.services[name]
    settings = service.settings.get(WorkerSettings)
    if not isinstance(settings, WorkerSettings) or not uses_gpu(settings.engine) or not service.workers:
        return None
    weights = weights_bytes(str(launch.working_dir / settings.model))
    process = next(each for each in launch.plan.processes if each.services == (name,))
    if not weights:
        return None
    if process.gpus:
        memory = min((sizes.get(gpu, 0) for gpu in process.gpus), default=0)
        share = float(service.engine_args.get("gpu_memory_utilization") or 0.9)
        return WorkerFit(name, weights, len(process.gpus), memory, share, service.workers) if memory else None
    if process.launch == "spawn":
        return None  # GPUs that we do not hand out: the engine will find its own
    return WorkerFit(name, weights, 0, _free_memory(), workers=service.workers)


def _free_memory() -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


def _gb(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
