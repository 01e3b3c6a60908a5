"""Steps as YAML that people keep in git: the same bytes for the same input."""

from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from tandem.deploy.objects import NeededSecret, Object, Step

_BASE: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_BASE):  # type: ignore[misc]
    """Without anchors; texts of several lines as they are."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: Any, value: str) -> Any:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def as_yaml(value: Object) -> str:
    """One document, keys in the order in which they were made."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return text


def step_text(step: Step) -> str:
    """One file: what it is for, the Secrets that it needs, its objects."""
    head = [f"# {step.about[:1].upper()}{step.about[1:]}."]
    head += [line for secret in step.secrets for line in _secret_lines(secret)]
    return "\n".join(head) + "\n" + "---\n".join(as_yaml(item) for item in step.objects)


def whole_text(steps: Sequence[Step]) -> str:
    """All steps as one stream."""
    return "---\n".join(step_text(step) for step in steps)


def files(steps: Sequence[Step]) -> Iterator[tuple[str, str]]:
    """(file name, text), one per step, numbered in the order in which they are applied."""
    for step in steps:
        yield f"{step.number:02d}-{step.name}.yaml", step_text(step)


def _secret_lines(secret: NeededSecret) -> Iterator[str]:
    if not secret.environment and not secret.generated:
        keys = f" (keys {', '.join(secret.keys)})" if secret.keys else ""
        yield f"# Needs the Secret {secret.name}{keys}: {secret.why}."
        return
    yield f"# Needs the Secret {secret.name}, {secret.why}; `tandem deploy apply` makes it when it is missing. By hand:"
    sources = []
    for index, key in enumerate(secret.keys):
        if secret.environment:
            value = f'"${secret.environment[index]}"'
        elif key == "username":
            value = "tandem"
        else:
            value = "p$(openssl rand -hex 24)"
        sources.append(f"--from-literal={key}={value}")
    yield f"#   kubectl create secret generic {secret.name} {' '.join(sources)}"
