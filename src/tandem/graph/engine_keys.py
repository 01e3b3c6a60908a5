"""The one seam to what engines know about their own YAML keys.

An engine offers its keys as `known_keys() -> Collection[str]` beside its adapter; one that offers none gets
every key unchecked and refuses what it does not like when it loads.
"""

import importlib
from collections.abc import Collection, Mapping
from typing import Any

from tandem.settings.document import Section
from tandem.settings.resolve import did_you_mean


def known_keys(engine: str) -> Collection[str] | None:
    """Keys that `engine` takes, normalised; None when it does not say."""
    if engine not in ("vllm", "simulated"):
        return None
    keys = set(importlib.import_module("tandem.engines.vllm.keys").VLLM_KEYS)
    keys |= set(importlib.import_module("tandem.engines.vllm.aliases").ALIASES)
    if engine == "simulated":
        arguments = importlib.import_module("tandem.engines.simulated.args").SimulatedArgs
        keys |= set(arguments.__dataclass_fields__)
    return keys


def unknown_engine(engine: str) -> str | None:
    """What is wrong with the name of an engine, naming those that there are; None when there is such an engine."""
    from tandem.engines.registry import engine_names

    known = engine_names()
    return (
        None if engine in known else f"engine {engine!r} is not known{did_you_mean(engine, known)} ({', '.join(known)})"
    )


def preload(engine: str) -> None:
    """Import the engine's libraries into this process, if the engine offers that."""
    if engine == "vllm":
        importlib.import_module("tandem.engines.vllm.process").preload()
        return
    from tandem.engines.registry import engine_for

    offered = getattr(engine_for(engine), "preload", None)
    if offered is not None:
        offered()


def worth_preloading(engine: str) -> bool:
    """Whether a zygote of its own pays: a simulated engine imports nothing heavy."""
    return engine != "simulated"


def uses_gpu(engine: str) -> bool:
    """Whether the engine computes on a device; a simulated one holds none."""
    return engine != "simulated"


def fetches_models(engine: str) -> bool:
    """Whether the engine takes a hub's name for a model and fetches it; a simulated one reads folders only."""
    return engine != "simulated"


def engine_args(section: Section, ours: Collection[str]) -> dict[str, Any]:
    """The section's keys that are not ours: what the engine gets."""
    return {key: sourced.value for key, sourced in section.values.items() if key not in ours}


def parallel_sizes(section: Section) -> Mapping[str, int]:
    """Parallel sizes that the section asks for; a value that is no number is the engine's to refuse."""
    sizes = {}
    for key in ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"):
        sourced = section.values.get(key)
        if sourced is not None and str(sourced.value).isdecimal():
            sizes[key] = int(sourced.value)
    return sizes
