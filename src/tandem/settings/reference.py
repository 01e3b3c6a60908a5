"""Writes docs/reference/settings.md from the field docstrings, or checks that it is up to date.

python -m tandem.settings.reference docs/reference/settings.md [--check]
"""

import dataclasses
import sys
import typing
from pathlib import Path
from typing import Any

from tandem.settings import (
    BatchSettings,
    DisaggSettings,
    FrontendSettings,
    GuardSettings,
    LimitSettings,
    PlaneSettings,
    ProcessorSettings,
    Resources,
    RouterSettings,
    ServiceArgs,
    SupervisorSettings,
    WorkerSettings,
)
from tandem.settings.fields import field_docs, fields_of

SECTIONS: tuple[tuple[str, tuple[type[Any], ...]], ...] = (
    ("Frontend", (FrontendSettings, GuardSettings, LimitSettings, BatchSettings)),
    ("Processor", (ProcessorSettings,)),
    ("Router", (RouterSettings,)),
    ("VllmWorker and PrefillWorker", (WorkerSettings, DisaggSettings)),
    ("ServiceArgs, in any section", (ServiceArgs, Resources)),
    ("Supervisor", (SupervisorSettings,)),
    ("Planes", (PlaneSettings,)),
)
_HEAD = """# Settings

Made from the docstrings in `src/tandem/settings/` by `make docs`; do not edit.

A setting is a key of a section of the YAML file (`-f`), a flag `--Section.key=value`, or, where one is named, an
environment variable. Flags win over the environment, the environment over the file. Dashes and underscores in
keys are the same. `tandem config show` prints each value and where it came from.

Three variables concern the whole configuration: `DYN_DEPLOYMENT_CONFIG` (YAML or JSON text) replaces file and
flags; `DYNAMO_SERVICE_CONFIG` is set for every process to the merged configuration; `DYN_DISABLE_AUTO_GPU_ALLOCATION=1`
and `DYN_DEPLOYMENT_ENV` leave CUDA_VISIBLE_DEVICES alone. `--port`, `--host` and `DYNAMO_PORT`, `DYNAMO_HOST` set the
front door of the entry service.

Sections of engine workers also take every key of their engine, such as `block-size` or `tensor-parallel-size`."""


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for title, classes in SECTIONS:
        parts.append(f"\n## {title}\n")
        for cls in classes:
            parts.append(f"{_first_paragraph(cls)}\n\n| Key | Default | Environment | Meaning |\n|---|---|---|---|")
            parts += _rows(cls)
            parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _first_paragraph(cls: type[Any]) -> str:
    return " ".join((cls.__doc__ or "").split("\n\n")[0].split())


def _rows(cls: type[Any]) -> list[str]:
    docs = field_docs(cls)
    rows = []
    for field in fields_of(cls):
        key = f"`{field.key}`" if cls is not ServiceArgs else f"`{field.name}`"
        env = ", ".join(f"`{name}`" for name in field.env)
        meaning = " ".join(docs.get(field.name, "").split()).replace("|", "\\|")
        rows.append(f"| {key} | {_default(field.default, field.type)} | {env} | {meaning} |")
    return rows


def _default(value: Any, kind: Any) -> str:
    if value is dataclasses.MISSING or value is None or value in ((), ""):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    choices = typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()
    others = "".join(f" \\| `{each}`" for each in choices if each != value)
    return f"`{value}`{others}"


def main(arguments: list[str]) -> int:
    """Write the page, or with --check tell whether it is as it would be written."""
    target = Path(arguments[0])
    if "--check" not in arguments:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page(), encoding="utf-8")
        return 0
    if target.is_file() and target.read_text(encoding="utf-8") == page():
        return 0
    sys.stderr.write(f"{target} is not what the docstrings say: run `make docs`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
