"""A section and the environment become a frozen dataclass, or every fault at once.

`Resolver` gathers faults over all sections, so that a person mends a configuration in one go:
call `settings()`, `service_args()` and `unknown()` for each service, then `raise_faults()`.
"""

import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from tandem.core.userinfo import shown
from tandem.errors import ConfigError
from tandem.settings.document import ENVIRONMENT, FLAG, Section, Sourced
from tandem.settings.fields import SettingField, fields_of, normalise
from tandem.settings.service_args import Resources, ServiceArgs

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one setting's value came from, for `tandem config show`."""

    section: str
    key: str
    value: Any
    origin: str


@dataclass(slots=True)
class Resolver:
    """Turns sections into settings; remembers faults and origins."""

    environ: Mapping[str, str]
    """The environment at start; read here and never again."""
    faults: list[str] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)

    def settings(self, cls: type[T], section: Section, *, whole: bool = True) -> T:
        """The settings of `cls` from `section`. On a fault its default stands in, and `raise_faults` tells.

        With `whole` off, only the values that are there are judged, not whether they suffice together.
        """
        values: dict[str, Any] = {}
        for setting in fields_of(cls):
            sourced = self._find(setting, section)
            if sourced is None:
                self._remember(section.name, setting, setting.default, "default")
                continue
            try:
                values[setting.name] = coerce(sourced.value, setting.type)
            except (msgspec.ValidationError, ValueError):
                shown_value = _shown(sourced.value, setting)
                self.faults.append(f"{sourced.place}: {sourced.key} = {shown_value} must be {wanted(setting.type)}")
                continue
            self._remember(section.name, setting, values[setting.name], sourced.origin)
        made = cls(**values)
        check = getattr(made, "check", None)
        if check is not None and whole:
            self.faults += [f"{place_of(section, fault.split(' ', 1)[0])}: {fault}" for fault in check()]
        return made

    def service_args(self, section: Section) -> ServiceArgs:
        """The section's `ServiceArgs`."""
        raw = {normalise(str(key)): value for key, value in section.service_args.items()}
        where = f"{section.service_args_at}{section.name}.ServiceArgs"
        self.nearest(where, raw, [f.name for f in fields_of(ServiceArgs)])
        for key in ("resources", "envs", "dynamo"):
            raw[key] = raw.get(key) or {}
            if not isinstance(raw[key], Mapping):
                self.faults.append(f"{where}.{key} = {raw[key]!r} must be a mapping")
                raw[key] = {}
        self.nearest(f"{where}.resources", raw["resources"], [f.name for f in fields_of(Resources)])
        raw["envs"] = {str(key): _as_env(value) for key, value in raw["envs"].items()}
        raw["resources"] = Resources(**self._coerced(Resources, raw["resources"], f"{where}.resources"))
        made = ServiceArgs(**self._coerced(ServiceArgs, raw, where))
        self.faults += [f"{where}: {fault}" for fault in made.check()]
        return made

    def _coerced(self, cls: type[Any], raw: Mapping[str, Any], where: str) -> dict[str, Any]:
        """The values of a nested mapping that fit; those that do not are faults."""
        made = {}
        for each in fields_of(cls):
            value = raw.get(each.name)
            if value is None:
                continue
            try:
                made[each.name] = value if isinstance(value, Resources) else coerce(value, each.type)
            except (msgspec.ValidationError, ValueError):
                self.faults.append(f"{where}.{each.key} = {value!r} must be {wanted(each.type)}")
        return made

    def unknown(self, section: Section, classes: Iterable[type[Any]], also: Iterable[str] = ()) -> None:
        """Report keys of `section` that neither `classes` nor `also` know, with the nearest name."""
        known = [name for cls in classes for f in fields_of(cls) for name in (f.name, *f.aliases)]
        self.nearest(section.name, section.values, [*known, *also], section)

    def nearest(
        self, where: str, keys: Mapping[str, Any], known: Iterable[str], section: Section | None = None
    ) -> None:
        """Report each of `keys` that is not in `known`."""
        names = list(known)
        for key in keys:
            if key in names:
                continue
            place = section.values[key].place if section else where
            written = section.values[key].key if section else key
            self.faults.append(f"{place}: unknown key {written!r}{did_you_mean(key, names)}")

    def raise_faults(self) -> None:
        """Raise one `ConfigError` with every fault, if there is any."""
        if self.faults:
            raise ConfigError("\n".join(dict.fromkeys(self.faults)))

    def _find(self, setting: SettingField, section: Section) -> Sourced | None:
        """The value that wins: flag, environment, file."""
        written = next((section.values[k] for k in (setting.name, *setting.aliases) if k in section.values), None)
        if written is not None and written.rank == FLAG:
            return written
        for name in setting.env:
            if self.environ.get(name, "") != "":
                return Sourced(self.environ[name], name, f"environment {name}", ENVIRONMENT)
        return written

    def _remember(self, section: str, setting: SettingField, value: Any, origin: str) -> None:
        self.origins.append(Origin(section, setting.key, _printable(value, setting), origin))


def coerce(value: Any, target: Any) -> Any:
    """`value` as the field's type; text is read as YAML and the environment write it.

    Raises:
        msgspec.ValidationError: it does not fit.
    """
    if typing.get_origin(target) is tuple and isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, str) and target is bool:
        value = {"on": "true", "yes": "true", "off": "false", "no": "false"}.get(value.lower(), value.lower())
    if isinstance(value, int | float) and not isinstance(value, bool) and _takes_text_only(target):
        value = str(value)
    return msgspec.convert(value, target, strict=False)


def wanted(target: Any) -> str:
    """What a setting of this type takes, in words."""
    kinds = [kind for kind in typing.get_args(target) if kind is not type(None)]
    if typing.get_origin(target) is typing.Literal:
        *others, last = map(repr, kinds)
        return f"{', '.join(others)} or {last}" if others else last
    if typing.get_origin(target) in (types.UnionType, typing.Union):
        return " or ".join(dict.fromkeys(wanted(kind) for kind in kinds))
    kind = typing.get_origin(target) or target
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", dict: "a mapping"}
    return words.get(kind, "a list, or text with commas between")


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """`; did you mean 'x'?`, or nothing when no known name is near."""
    by_lower = {normalise(each).lower(): each for each in known}
    near = difflib.get_close_matches(normalise(name).lower(), by_lower, n=1, cutoff=cutoff)
    return f"; did you mean {by_lower[near[0]].replace('_', '-')!r}?" if near else ""


def place_of(section: Section, key: str) -> str:
    """Where a key stands, if a file has it; else the section's name."""
    sourced = section.values.get(normalise(key))
    return sourced.place if sourced is not None and sourced.line is not None else section.name


def _takes_text_only(target: Any) -> bool:
    kinds = set(typing.get_args(target)) or {target}
    return str in kinds and not kinds & {int, float}


def _as_env(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shown(value: Any, setting: SettingField) -> str:
    return "(hidden)" if setting.secret else repr(_printable(value, setting))


def _printable(value: Any, setting: SettingField) -> Any:
    """The value without what must not be printed."""
    if setting.secret and value is not None:
        return "(hidden)"
    if setting.address and isinstance(value, str):
        return shown(value)
    if setting.address and isinstance(value, tuple | list):
        return tuple(shown(str(each)) for each in value)
    return value
