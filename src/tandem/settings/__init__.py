"""Flags, environment and the guide's YAML become frozen values, once, at start.

    front.py         Frontend, Processor, Router
    guard.py         who may come in at the Frontend
    limits.py        how much one client may ask of it
    work.py          Worker, Disagg
    process.py       Supervisor, Planes
    service_args.py  ServiceArgs: how many of a service, and what each needs
    document.py      YAML and overrides become a `Deployment`, each value with its origin
    overrides.py     `--Service.key=value`
    resolve.py       a section and the environment become a frozen dataclass, or every fault at once
    fields.py        what a dataclass's fields say about themselves
    argv.py          a section as the argument list of old
    reference.py     docs/reference/settings.md, from the field docstrings

Precedence: flag > environment > YAML > default. Nothing reads `os.environ` after start, and no other
room parses a setting.
"""

from tandem.settings.batches import BatchSettings
from tandem.settings.front import FrontendSettings, ProcessorSettings, RouterSettings
from tandem.settings.guard import GuardSettings
from tandem.settings.limits import LimitSettings
from tandem.settings.process import PlaneSettings, SupervisorSettings
from tandem.settings.service_args import Resources, ServiceArgs
from tandem.settings.work import DisaggSettings, WorkerSettings

__all__ = [
    "BatchSettings",
    "DisaggSettings",
    "FrontendSettings",
    "GuardSettings",
    "LimitSettings",
    "PlaneSettings",
    "ProcessorSettings",
    "Resources",
    "RouterSettings",
    "ServiceArgs",
    "SupervisorSettings",
    "WorkerSettings",
]
