"""`module:Attr` or `path/file.py:Attr` becomes a service class and the graph around it."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tandem.errors import ConfigError
from tandem.graph.declare import info_of, is_service, linked_class, links
from tandem.graph.pruning import closure, prune
from tandem.settings.resolve import did_you_mean

GROUP = "tandem.services"
"""Entry points of packages that bring services."""


@dataclass(frozen=True, slots=True)
class Graph:
    """The services that an entry starts."""

    entry: str
    services: dict[str, type[Any]]
    """By name, dependencies first, the entry last."""
    edges: dict[str, tuple[str, ...]]
    """Who calls whom, after pruning, among `services`."""


def load_entry(target: str, working_dir: Path) -> type[Any]:
    """Import the class that `target` names, with `working_dir` first on the path.

    Raises:
        ConfigError: no such module or attribute, an error while importing it, or not a service.
    """
    module_name, _, attribute = target.partition(":")
    if not attribute:
        return _plugged_in(target)
    root = str(working_dir.resolve())
    if sys.path[:1] != [root]:
        sys.path.insert(0, root)
    module = (
        _import_file(module_name, working_dir) if module_name.endswith(".py") else _import_module(module_name, root)
    )
    found: Any = module
    for part in attribute.split("."):
        walked = info_of(found).depends.get(part) if is_service(found) else None
        if walked is None and not hasattr(found, part):
            offered = [name for name, each in vars(module).items() if is_service(each)]
            raise ConfigError(f"{module_name} has no {attribute!r}; its services are {', '.join(offered) or 'none'}")
        found = walked or getattr(found, part)
    if not is_service(found):
        raise ConfigError(f"{target} is no service: decorate the class with @service()")
    assert isinstance(found, type)
    return found


def _plugged_in(name: str) -> type[Any]:
    """A service that an installed package offers as an entry point of group `tandem.services`."""
    from importlib.metadata import entry_points

    offered = entry_points(group=GROUP)
    for point in offered:
        if point.name == name:
            found = _checked(point.load, f"{name} ({point.value})")
            if not is_service(found):
                raise ConfigError(f"{point.value} is no service: decorate the class with @service()")
            assert isinstance(found, type)
            return found
    installed = f"; installed ones are {', '.join(sorted(offered.names))}" if offered.names else ""
    raise ConfigError(f"{name!r} names no service: write module:Service or path/file.py:Service{installed}")


def graph_of(entry: type[Any], only: str | None = None, elsewhere: Collection[str] = ()) -> Graph:
    """What `entry` starts, links considered; with `only`, that service and none of its dependencies.

    Services named in `elsewhere` run in another place: they are called, and not started.

    Raises:
        ConfigError: the graph has no service called `only`, or none of those called elsewhere.
    """
    classes: dict[str, type[Any]] = {}
    _collect(entry, classes)
    declared = {
        name: tuple(info_of(target).name for target in info_of(cls).depends.values()) for name, cls in classes.items()
    }
    called = {name for needed in declared.values() for name in needed}
    for each in elsewhere:
        if each not in called:
            raise ConfigError(f"--depends {each}: nothing here depends on it{did_you_mean(each, sorted(called))}")
    pruned = prune(declared, links())
    edges = {name: tuple(each for each in needed if each not in elsewhere) for name, needed in pruned.items()}
    name = info_of(entry).name
    if only is not None:
        if only not in classes:
            raise ConfigError(f"--service-name {only}: the graph of {name} holds {', '.join(sorted(classes))}")
        return Graph(only, {only: classes[only]}, {only: ()})
    order = closure(name, edges)
    return Graph(name, {each: classes[each] for each in order}, {each: edges.get(each, ()) for each in order})


def _collect(cls: type[Any], into: dict[str, type[Any]]) -> None:
    name = info_of(cls).name
    if into.get(name, cls) is not cls:
        raise ConfigError(f"two services are called {name}: {into[name].__module__} and {cls.__module__}")
    if name in into:
        return
    into[name] = cls
    for target in info_of(cls).depends.values():
        if not is_service(target):
            raise ConfigError(f"{name} depends on {target!r}, which is no service")
        _collect(target, into)
    for source, linked_name in links():
        linked = linked_class(linked_name)
        if source == name and linked is not None:
            _collect(linked, into)


def _import_module(name: str, root: str) -> Any:
    try:
        return _checked(lambda: importlib.import_module(name), name)
    except ConfigError as error:
        missing = error.__cause__.name if isinstance(error.__cause__, ModuleNotFoundError) else None
        if missing and (name == missing or name.startswith(missing + ".")):
            raise ConfigError(f"no module {name!r} in {root} or on the Python path") from error
        raise


def _checked(load: Callable[[], Any], what: str) -> Any:
    """Run code that is not ours; whatever it raises is told in one line."""
    try:
        return load()
    except Exception as error:
        raise ConfigError(f"importing {what} failed: {type(error).__name__}: {error}") from error


def _import_file(path: str, working_dir: Path) -> Any:
    file = (working_dir / path).resolve()
    if not file.is_file():
        raise ConfigError(f"no file {file}")
    package = _package_root(file)
    name = ".".join(file.relative_to(package).with_suffix("").parts)
    if str(package) not in sys.path:
        sys.path.insert(1, str(package))
    return _import_module(name, str(package))


def _package_root(file: Path) -> Path:
    """The folder above the outermost package that holds `file`."""
    folder = file.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder
