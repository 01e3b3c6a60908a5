"""Renders the Helm chart with the small part of Go's templates that it uses, and writes deploy/operator.yaml from it.

python -m tandem.operator.chart deploy [--check] writes deploy/operator.yaml and the chart's copy of the CRDs.

Understood: fields (`.Values.a.b`, `.Release.Name`), `default`, `quote`, `toYaml`, `indent`, and the blocks `if`,
`else` and `with`. Anything else is an error, so that the chart cannot come to use what is not checked here.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tandem.core.paths import at
from tandem.operator.crds import as_yaml, crds
from tandem.operator.labels import GROUP
from tandem.operator.types import Raw

NAMESPACE = "tandem-system"


def render(chart: Path, values: Raw, *, release: str = "tandem-operator", namespace: str = NAMESPACE) -> list[Raw]:
    """All objects of the chart's templates, without its CRDs."""
    description = yaml.safe_load((chart / "Chart.yaml").read_text())
    scope = {
        "Values": _merged(yaml.safe_load((chart / "values.yaml").read_text()), values),
        "Release": {"Name": release, "Namespace": namespace},
        "Chart": {"AppVersion": str(description["appVersion"])},
    }
    found: list[Raw] = []
    for path in sorted((chart / "templates").glob("*.yaml")):
        text = expand(path.read_text(), scope)
        found += [document for document in yaml.safe_load_all(text) if document]
    return found


def expand(text: str, scope: Raw) -> str:
    """A template's text with its tags filled in.

    Raises:
        ValueError: a tag that is not understood.
    """
    return "".join(_block(_tokens(text), scope, scope))


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """("text", …) and ("tag", …), with Go's trimming of white space before `{{-`."""
    position = 0
    for found in re.finditer(r"\{\{(-?)\s*(.*?)\s*\}\}", text, re.DOTALL):
        before = text[position : found.start()]
        yield "text", before.rstrip() if found[1] else before
        yield "tag", found[2]
        position = found.end()
    yield "text", text[position:]


def _block(
    tokens: Iterator[tuple[str, str]], scope: Raw, dot: Any, *, live: bool = True, other: bool = False
) -> Iterator[str]:
    """Output up to the block's own `end`; `other`: whether that after its `else` counts."""
    for kind, body in tokens:
        if kind == "text":
            if live:
                yield body
            continue
        word = body.split()[0]
        if word == "end":
            return
        if body == "else":
            live = other
        elif word in ("if", "with"):
            value = _value(body.split(None, 1)[1], scope, dot) if live else None
            inner = value if word == "with" else dot
            yield from _block(tokens, scope, inner, live=live and bool(value), other=live and not value)
        elif live:
            yield _text(_value(body, scope, dot))


def _value(expression: str, scope: Raw, dot: Any) -> Any:
    """One pipeline."""
    first, *rest = [part.strip() for part in expression.split("|")]
    words = first.split()
    if words[0] == "toYaml":
        value: Any = yaml.safe_dump(_field(words[1], scope, dot), default_flow_style=False, sort_keys=False).rstrip()
    elif len(words) == 1:
        value = _field(first, scope, dot)
    else:
        raise ValueError(f"not understood: {{{{ {expression} }}}}")
    for step in rest:
        name, *arguments = step.split()
        match name, arguments:
            case "default", [other]:
                value = value or _field(other, scope, dot)
            case "quote", []:
                value = f'"{value}"'
            case "indent", [width]:
                value = "\n".join(" " * int(width) + line for line in str(value).splitlines())
            case _:
                raise ValueError(f"not understood: | {step}")
    return value


def _field(path: str, scope: Raw, dot: Any) -> Any:
    if path == ".":
        return dot
    if not re.fullmatch(r"(\.[A-Za-z]+)+", path):
        raise ValueError(f"not understood: {path}")
    names = path[1:].split(".")
    missing = object()
    value = at(scope, *names, default=missing)
    if value is missing:
        raise ValueError(f"{path} has no value; name it in values.yaml")
    return value


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _merged(base: Raw, over: Raw) -> Raw:
    found = dict(base)
    for key, value in over.items():
        old = found.get(key)
        found[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return found


def flat_manifest(folder: Path) -> str:
    """deploy/operator.yaml: namespace, CRDs and the chart with its defaults, for plain `kubectl apply`."""
    head = "# Made by `python -m tandem.operator.chart deploy` from the chart with its defaults; do not edit.\n"
    space: Raw = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    documents = [space, *crds().values(), *render(folder / "helm" / "operator", {})]
    return head + "---\n".join(as_yaml(document) for document in documents)


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` compare them: 1 when one is out of date."""
    folder = Path(next(argument for argument in arguments if not argument.startswith("-")))
    files = {folder / "operator.yaml": flat_manifest(folder)}
    copies = folder / "helm" / "operator" / "crds"
    files |= {copies / f"{GROUP}_{plural}.yaml": as_yaml(document) for plural, document in crds().items()}
    stale = [path for path, text in files.items() if not path.is_file() or path.read_text() != text]
    if "--check" in arguments:
        for path in stale:
            print(f"{path} is out of date: run `python -m tandem.operator.chart {folder}`", file=sys.stderr)  # noqa: T201
        return bool(stale)
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
