"""Descriptions for tests: the shortest that is valid, and changes to it."""

import copy
from pathlib import Path
from typing import Any

import yaml

from tandem.deploy.description import Description
from tandem.deploy.objects import Object, Step
from tandem.deploy.reading import read_description
from tandem.deploy.render import render

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "deploy"
SHORTEST: dict[str, Any] = {
    "name": "qwen",
    "image": "tandem:test",
    "model": {"name": "qwen", "storage": {"kind": "pvc", "claim": "weights"}},
    "roles": {"decoder": {}, "prefill": {}},
}


def document(**changes: Any) -> dict[str, Any]:
    """The shortest description with some sections changed; `a__b=…` reaches into a section, None takes a key away."""
    found = copy.deepcopy(SHORTEST)
    for path, value in changes.items():
        *parents, last = [part.replace("_", "-") for part in path.split("__")]
        section = found
        for parent in parents:
            section = section.setdefault(parent, {})
        if value is None:
            section.pop(last, None)
        else:
            section[last] = value
    return found


def described(**changes: Any) -> Description:
    return read_description(yaml.safe_dump(document(**changes)), "service.yaml")


def example(name: str) -> Description:
    path = EXAMPLES / f"{name}.yaml"
    return read_description(path.read_text(), path.name)


def objects(wish: Description | list[Step], *, minor: int = 37) -> dict[tuple[str, str], Object]:
    """Everything rendered, by kind and name."""
    steps = wish if isinstance(wish, list) else render(wish, minor=minor)
    listed = [item for step in steps for item in step.objects]
    found = {(item["kind"], item["metadata"]["name"]): item for item in listed}
    assert len(found) == len(listed), "an object stands twice"
    return found


def pod_of(found: dict[tuple[str, str], Object], role: str) -> Object:
    """The pod's spec of a role of the only group."""
    [group] = [item for (kind, _), item in found.items() if kind == "RoleBasedGroup"]
    [template] = [each["template"] for each in group["spec"]["roles"] if each["name"] == role]
    return dict(template["spec"])
