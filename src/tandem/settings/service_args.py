"""`ServiceArgs`: how many of a service, and what each needs. YAML wins over the `@service` decorator."""

from dataclasses import dataclass, field
from typing import Any

from tandem.settings.fields import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one worker of a service needs. Key `resources`."""

    gpu: int | None = None
    """GPUs per worker. Default: the decorator's, but at least the tensor-parallel size times the pipeline-parallel
    size."""

    cpu: str | None = None
    """CPU cores, as Kubernetes writes them (`10`, `500m`). Used by deployment manifests; locally not enforced."""

    memory: str | None = None
    """Memory, as Kubernetes writes it (`20Gi`). As `cpu`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceArgs:
    """Placement of one service. Key `ServiceArgs` of its section."""

    workers: int | None = None
    """Processes of this service. Default: the decorator's, 1. Those of a Frontend share its port, and what is linked to
    it lives in each; `--workers` says it for the entry of the graph."""

    resources: Resources = field(default_factory=Resources)
    """What each needs."""

    envs: dict[str, str] = field(default_factory=dict)
    """Environment variables of its processes. Values stay text."""

    dynamo: dict[str, Any] = field(default_factory=dict)
    """`namespace`: where it registers. Default: the decorator's, `dynamo`."""

    image: str | None = setting(None)
    """Accepted for old configurations; used by deployment manifests."""

    @property
    def namespace(self) -> str | None:
        """The namespace that YAML asks for, if any."""
        value = self.dynamo.get("namespace")
        return None if value is None else str(value)

    def check(self) -> list[str]:
        """What cannot work, in words."""
        faults = []
        if self.workers is not None and self.workers < 0:
            faults.append("workers must not be negative")
        if self.resources.gpu is not None and self.resources.gpu < 0:
            faults.append("resources.gpu must not be negative")
        return faults
