"""`engine: NAME` → adapter. Built-ins and engines of other packages are found the same way.

A package adds an engine with an entry point in the group `tandem.engines` that names a callable
`(spec: EngineSpec) -> Engine`. Adapters are imported when they are asked for, never before.
"""

import difflib
import importlib
import importlib.metadata
from collections.abc import Callable

from tandem.engines.ports import Engine, EngineSpec
from tandem.errors import ConfigError

GROUP = "tandem.engines"
EngineFactory = Callable[[EngineSpec], Engine]

_BUILT_IN = {
    "vllm": "tandem.engines.vllm.engine:VllmEngine",
    "simulated": "tandem.engines.simulated.engine:SimulatedEngine",
}
_EXTRA = {"vllm": "pip install 'tandem-pd[cpu]' or, with a GPU, 'tandem-pd[cuda]'"}
"""What to install when a built-in adapter's library is missing."""
_PLANNED = ("sglang", "trtllm")


def engine_names() -> list[str]:
    """Names that `engine_for` takes here, sorted."""
    return sorted({*_BUILT_IN, *(point.name for point in importlib.metadata.entry_points(group=GROUP))})


def engine_for(name: str) -> EngineFactory:
    """The factory of an engine by its name in the settings.

    Raises:
        ConfigError: no such engine (the message lists those that there are), or its library is not installed.
    """
    target = _BUILT_IN.get(name)
    if target is not None:
        module, _, attribute = target.partition(":")
        factory: EngineFactory = getattr(importlib.import_module(module), attribute)
        return factory
    for point in importlib.metadata.entry_points(group=GROUP, name=name):
        try:
            found: EngineFactory = point.load()
        except ImportError as error:
            message = f"engine {name} (from {point.dist and point.dist.name}) does not import: {error}"
            raise ConfigError(message, param="engine") from error
        return found
    raise ConfigError(_unknown(name), param="engine")


def missing_library(name: str, error: ImportError) -> ConfigError:
    """What an adapter raises from `load` when its library is not there."""
    hint = f"; install it: {_EXTRA[name]}" if name in _EXTRA else ""
    return ConfigError(f"engine {name} needs {error.name or error}{hint}", param="engine")


def _unknown(name: str) -> str:
    known = ", ".join(engine_names())
    if name in _PLANNED:
        return (
            f"this version has no adapter for {name}; it knows {known}. "
            f"A package with an entry point {name!r} in the group {GROUP!r} would add one"
        )
    near = difflib.get_close_matches(name, engine_names(), 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"unknown engine {name!r}{hint}. Known: {known}. Others come with packages (entry points in {GROUP!r})"
