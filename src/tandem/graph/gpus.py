"""Which GPU goes to which worker.

`allocate` is pure; `visible_gpus` looks at the machine without importing torch. Supervisors of one user on
one host claim GPUs by file locks, so that two `serve` commands do not both take GPU 0.
"""

import fcntl
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tandem.errors import ConfigError


@dataclass(frozen=True, slots=True)
class GpuNeed:
    """One worker's wish."""

    worker: str
    gpus: int


def gpus_per_worker(asked: int, parallel: Mapping[str, int]) -> int:
    """GPUs of one worker: what was asked for, but no fewer than its parallel sizes need."""
    needed = 1
    for key in ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"):
        needed *= max(1, parallel.get(key, 1))
    return max(asked, needed) if asked else 0


def allocate(needs: Sequence[GpuNeed], free: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Hand out `free` in order.

    Raises:
        ConfigError: too few, with the count of both and what to change.
    """
    total = sum(need.gpus for need in needs)
    if total > len(free):
        wishes = ", ".join(f"{need.worker} {need.gpus}" for need in needs if need.gpus)
        raise ConfigError(
            f"not enough GPUs: {total} needed ({wishes}), {len(free)} free here. "
            "Lower ServiceArgs.workers, ServiceArgs.resources.gpu or tensor-parallel-size, "
            "e.g. --VllmWorker.ServiceArgs.resources.gpu=1"
        )
    left = list(free)
    return {need.worker: tuple(left.pop(0) for _ in range(need.gpus)) for need in needs if need.gpus}


def visible_gpus(environ: Mapping[str, str], driver: Path = Path("/proc/driver/nvidia/gpus")) -> list[str]:
    """GPU ids that processes here may use: CUDA_VISIBLE_DEVICES if set, else what the driver shows."""
    listed = environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return [each.strip() for each in listed.split(",") if each.strip() not in ("", "-1", "NoDevFiles")]
    if not driver.is_dir():
        return []
    usable = list(Path("/dev").glob("nvidia[0-9]*"))
    return [str(n) for n in range(len(usable) or len(list(driver.iterdir())))]


class GpuClaims:
    """Locks on GPUs, held until closed or until this process dies in any way."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: list[int] = []

    def claim(self, ids: Sequence[str], count: int) -> list[str]:
        """Up to `count` of `ids` that no other supervisor of this user has claimed."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        taken: list[str] = []
        for gpu in ids:
            if len(taken) == count:
                break
            fd = os.open(self._folder / f"gpu-{gpu}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(fd)
                continue
            self._held.append(fd)
            taken.append(gpu)
        return taken

    def close(self) -> None:
        """Give them back. Safe to repeat."""
        while self._held:
            os.close(self._held.pop())
