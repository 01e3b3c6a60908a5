"""The configuration as written: YAML and overrides, merged, each value with where it came from.

Nothing is interpreted here: `resolve.py` turns sections into settings. Keys are kept as written; they are
compared with dashes as underscores.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tandem.errors import ConfigError
from tandem.settings.fields import normalise
from tandem.settings.overrides import Override
from tandem.settings.yaml_text import Lines, read_yaml_and_lines

COMMON = "Common"
COMMON_CONFIGS = "common_configs"
SERVICE_ARGS = "ServiceArgs"


@dataclass(frozen=True, slots=True)
class Sourced:
    """A value, the key as it was written, and where."""

    value: Any
    key: str
    origin: str
    rank: int
    """1 from the file, 3 from a flag; the environment is 2 and comes in between."""
    line: int | None = None
    """Of the file."""

    @property
    def place(self) -> str:
        """The origin, with the line where there is one."""
        if self.line is None:
            return self.origin
        file, _, section = self.origin.rpartition(": ")
        return f"{file}, line {self.line}: {section}"


FILE, ENVIRONMENT, FLAG = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Section:
    """A service's own keys, the common keys that it takes, and its `ServiceArgs`."""

    name: str
    values: Mapping[str, Sourced] = field(default_factory=dict)
    """By normalised key; common keys are in it unless the section has its own."""
    service_args: Mapping[str, Any] = field(default_factory=dict)
    service_args_at: str = ""
    """Where they stand, as messages begin."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """Everything that file and flags say."""

    sections: Mapping[str, Section] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)
    """The merged document as plain data: what children find in DYNAMO_SERVICE_CONFIG."""
    notices: tuple[str, ...] = ()
    common: Mapping[str, Sourced] = field(default_factory=dict)

    def section(self, name: str) -> Section:
        """The section of a service; empty if nothing was written for it."""
        return self.sections.get(name, Section(name))


def load_deployment(
    text: str | None,
    *,
    origin: str = "",
    overrides: Sequence[Override] = (),
    replaced_by: str | None = None,
    numbered: bool = True,
) -> Deployment:
    """Merge a configuration file's text and overrides.

    Args:
        text: YAML, or None when there is no file.
        origin: how messages call the file.
        overrides: `--Service.key=value`, in the order given.
        replaced_by: text of DYN_DEPLOYMENT_CONFIG, which replaces file and overrides completely.
        numbered: whether messages name lines: `text` is a file's, which a person can look at.
    Raises:
        ConfigError: not YAML, or not the shape; every fault in one message.
    """
    if replaced_by:
        text, origin, overrides, numbered = replaced_by, "DYN_DEPLOYMENT_CONFIG", (), False
    document, lines = _parse(text, origin) if text else ({}, {})
    lines = lines if numbered and origin else {}
    faults = _shape_faults(document, origin, lines)
    if faults:
        raise ConfigError("\n".join(faults))
    ranks = _apply(document, overrides)
    common = {
        normalise(key): _sourced(value, key, COMMON, origin, ranks, lines)
        for key, value in (document.get(COMMON) or {}).items()
    }
    notices: list[str] = []
    sections = {
        name: _section(name, body or {}, common, origin, ranks, notices, lines)
        for name, body in document.items()
        if name != COMMON
    }
    return Deployment(sections=sections, document=document, notices=tuple(notices), common=common)


def _parse(text: str, origin: str) -> tuple[dict[str, Any], Lines]:
    loaded, lines = read_yaml_and_lines(text, origin)
    if loaded is None:
        return {}, {}
    if not isinstance(loaded, dict):
        raise ConfigError(f"{origin}: the top level must be one mapping per service, found {kind_of(loaded)}")
    return loaded, lines


def _shape_faults(document: Mapping[Any, Any], origin: str, lines: Lines) -> list[str]:
    faults = []
    for name, body in document.items():
        if not isinstance(name, str):
            faults.append(f"{origin}: {name!r} is no name of a section; put it in quotes if it is meant as one")
            continue
        if body is not None and not isinstance(body, dict):
            place = _at(origin, lines, name)
            faults.append(f"{place}: section {name} must be a mapping of its keys, found {kind_of(body)}")
            continue
        for key, value in (body or {}).items():
            place = _at(origin, lines, name, str(key))
            if normalise(str(key)) == COMMON_CONFIGS and not isinstance(value, list | None):
                faults.append(f"{place}: {name}.{key} must be a list of names, found {kind_of(value)}; write [{value}]")
            if key == SERVICE_ARGS and not isinstance(value, dict | None):
                faults.append(f"{place}: {name}.{key} must be a mapping, found {kind_of(value)}")
    return faults


def kind_of(value: Any) -> str:
    """What YAML calls a value of this type."""
    kinds = ((bool, "true or false"), (int | float, "a number"), (str, "text"), (list, "a list"), (dict, "a mapping"))
    return next((word for kind, word in kinds if isinstance(value, kind)), "another value")


def _at(origin: str, lines: Lines, *path: str) -> str:
    line = lines.get(path)
    return origin if line is None else f"{origin}, line {line}"


def _apply(document: dict[str, Any], overrides: Sequence[Override]) -> dict[tuple[str, str], str]:
    """Put overrides into the document; returns which (service, key) came from which flag."""
    flags: dict[tuple[str, str], str] = {}
    for override in overrides:
        body = document.setdefault(override.service, {})
        if body is None:
            body = document[override.service] = {}
        *parents, last = override.path
        first = _existing(body, override.path[0])
        for parent in parents:
            written = _existing(body, parent)
            if not isinstance(body.get(written), dict):
                body[written] = {}
            body = body[written]
        body[_existing(body, last)] = override.value
        flags[override.service, first] = override.flag
    return flags


def _existing(body: Mapping[str, Any], key: str) -> str:
    """The spelling under which `key` is already there, else `key`."""
    return next((known for known in body if normalise(str(known)) == normalise(key)), key)


def _origin(flags: Mapping[tuple[str, str], str], at: tuple[str, str], otherwise: str) -> tuple[str, int]:
    flag = flags.get(at)
    return (otherwise, FILE) if flag is None else (f"flag {flag}", FLAG)


def _section(
    name: str,
    body: Mapping[str, Any],
    common: Mapping[str, Sourced],
    origin: str,
    flags: Mapping[tuple[str, str], str],
    notices: list[str],
    lines: Lines,
) -> Section:
    values: dict[str, Sourced] = {}
    service_args: Mapping[str, Any] = {}
    asked: list[str] = []
    for key, value in body.items():
        if key == SERVICE_ARGS:
            service_args = value or {}
        elif normalise(str(key)) == COMMON_CONFIGS:
            asked = [str(each) for each in value or []]
        else:
            values[normalise(str(key))] = _sourced(value, str(key), name, origin, flags, lines)
    for key in asked:
        if normalise(key) in common:
            values.setdefault(normalise(key), common[normalise(key)])
        else:
            its_own = "; its own value is used" if normalise(key) in values else ""
            notices.append(f"{origin}: {name} takes {key} from Common, which does not have it{its_own}")
    line = lines.get((name, SERVICE_ARGS))
    return Section(name, values, service_args, "" if line is None else f"{origin}, line {line}: ")


def _sourced(
    value: Any, key: str, section: str, origin: str, flags: Mapping[tuple[str, str], str], lines: Lines
) -> Sourced:
    found, rank = _origin(flags, (section, key), f"{origin}: {section}")
    return Sourced(value, key, found, rank, lines.get((section, key)) if rank == FILE else None)


def as_json(deployment: Deployment) -> str:
    """The merged document as compact JSON: the value of DYNAMO_SERVICE_CONFIG."""
    return json.dumps(deployment.document)
