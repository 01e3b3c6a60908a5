"""`--Service.key=value` in its three spellings, picked out of a command line."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tandem.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Override:
    """One value set on the command line: `--VllmWorker.ServiceArgs.workers=2`."""

    service: str
    path: tuple[str, ...]
    value: Any
    flag: str
    """As written, without the value."""


def take_overrides(arguments: Sequence[str]) -> tuple[list[Override], list[str]]:
    """Split a command line into overrides and the rest.

    Accepts `--S.k=v`, `--S.k = v` and `--S.k v`. A value is JSON where it parses as JSON, else text;
    below `envs` it stays text.

    Raises:
        ConfigError: a flag without its value, or a value that begins with a dash.
    """
    found: list[Override] = []
    rest: list[str] = []
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        if argument == "--":
            rest += [argument, *waiting]
            break
        name, equals, text = argument.partition("=")
        if not _names_a_key(name):
            rest.append(argument)
            continue
        if not equals:
            if waiting[:1] == ["="]:
                waiting.pop(0)
            if not waiting:
                raise ConfigError(f"{name} needs a value: {name}=VALUE")
            text = waiting.pop(0)
        if text.startswith("-") and not _is_number(text):
            raise ConfigError(f"{name}: a value can not start with '-' (found {text!r})")
        service, *path = name.removeprefix("--").split(".")
        found.append(Override(service, tuple(path), _value(text, path), name))
    return found, rest


def _names_a_key(argument: str) -> bool:
    return argument.startswith("--") and "." in argument and all(argument[2:].split("."))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _value(text: str, path: Sequence[str]) -> Any:
    if "envs" in path[:-1]:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
