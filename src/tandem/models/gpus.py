"""GPUs that models are served on, and the memory that their drivers report (`nvidia-smi`, `amd-smi`)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gpu:
    """One kind."""

    name: str
    memory_mib: int

    @property
    def bytes(self) -> int:
        """Of memory."""
        return self.memory_mib << 20


GPUS = (
    Gpu("L4 24GB", 23_034),
    Gpu("A10 24GB", 23_028),
    Gpu("RTX 4090 24GB", 24_564),
    Gpu("RTX 5090 32GB", 32_607),
    Gpu("V100 32GB", 32_768),
    Gpu("A100 40GB", 40_960),
    Gpu("L20 48GB", 46_068),
    Gpu("L40S 48GB", 46_068),
    Gpu("A100 80GB", 81_920),
    Gpu("H100 80GB", 81_559),
    Gpu("H20 96GB", 97_871),
    Gpu("H200 141GB", 143_771),
    Gpu("B200 180GB", 183_359),
    Gpu("MI300X 192GB", 196_592),
)
