"""Prometheus pages of several processes become one. Pure.

Each sample gets the label `process`; each family's HELP and TYPE appear once, with its samples together,
as the format asks.
"""

from collections.abc import Mapping


def merge(pages: Mapping[str, str]) -> str:
    """One page from `pages`, which are by process name."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for process, page in pages.items():
        family = ""
        for line in page.splitlines():
            if line.startswith(("# HELP ", "# TYPE ")):
                family = line.split(" ", 3)[2]
                known = heads.setdefault(family, [])
                if line[:7] not in [head[:7] for head in known]:
                    known.append(line)
            elif line and not line.startswith("#"):
                samples.setdefault(family, []).append(_labelled(line, process))
    lines = [line for family in samples for line in (*heads.get(family, ()), *samples[family])]
    return "\n".join([*lines, ""])


def _labelled(line: str, process: str) -> str:
    label = f'process="{process}"'
    name, brace, rest = line.partition("{")
    if brace:
        comma = "" if rest.startswith("}") else ","
        return f"{name}{{{label}{comma}{rest}"
    name, _, value = line.partition(" ")
    return f"{name}{{{label}}} {value}"
