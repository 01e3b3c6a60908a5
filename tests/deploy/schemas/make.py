"""Makes the schema files beside this one: what Kubernetes 1.22 and 1.37 say about the kinds that we render.

python tests/deploy/schemas/make.py FOLDER VERSION, where FOLDER holds kubernetes-validate's `kubernetes-json-schema`
(its release 1.22.0 for 1.22, 1.37.0 for 1.37; its strict schemas refuse fields that are not known). Descriptions are
left out; names, types and what is required are facts of the API.
"""

import json
import sys
from pathlib import Path
from typing import Any

KINDS = {
    "ConfigMap": "v1",
    "DaemonSet": "apps-v1",
    "Deployment": "apps-v1",
    "HorizontalPodAutoscaler": "autoscaling",
    "Ingress": "networking-v1",
    "Job": "batch-v1",
    "NetworkPolicy": "networking-v1",
    "PersistentVolume": "v1",
    "PersistentVolumeClaim": "v1",
    "PodDisruptionBudget": "policy-v1",
    "Secret": "v1",
    "Service": "v1",
    "StatefulSet": "apps-v1",
}


def main(folder: Path, version: str) -> None:
    strict = folder / f"v{version}.0-local-strict"
    document = json.loads((strict / "_definitions.json").read_text())
    definitions = document.get("$defs") or document["definitions"]
    kinds: dict[str, dict[str, Any]] = {}
    for kind, group in KINDS.items():
        if group == "autoscaling":
            group += "-v2" if (strict / "horizontalpodautoscaler-autoscaling-v2.json").exists() else "-v2beta2"
        schema = json.loads((strict / f"{kind.lower()}-{group}.json").read_text())
        if "$ref" in schema:
            schema = definitions[schema["$ref"].rsplit("/", 1)[1]]
        kinds[f"{group.replace('-', '/')}/{kind}"] = stripped(schema)
    reached: dict[str, Any] = {}
    todo = list(refs(kinds))
    while todo:
        name = todo.pop()
        if name not in reached:
            reached[name] = stripped(definitions[name])
            todo += refs(reached[name])
    found = {"kinds": kinds, "$defs": dict(sorted(reached.items()))}
    path = Path(__file__).with_name(f"kubernetes-{version}.json")
    path.write_text(json.dumps(found, separators=(",", ":")) + "\n")
    print(path, path.stat().st_size)


def stripped(node: Any) -> Any:
    """Without prose, references pointing into this file."""
    if isinstance(node, list):
        return [stripped(item) for item in node]
    if not isinstance(node, dict):
        return node
    drop = {"description", "$schema", "$id", "format", "default"}
    found = {}
    for key, value in node.items():
        if key == "properties":
            found[key] = {name: stripped(inner) for name, inner in value.items()}
        elif key == "$ref":
            found[key] = "#/$defs/" + value.rsplit("/", 1)[1]
        elif key not in drop and not key.startswith("x-kubernetes"):
            found[key] = stripped(value)
    return found


def refs(node: Any) -> list[str]:
    if isinstance(node, list):
        return [name for item in node for name in refs(item)]
    if not isinstance(node, dict):
        return []
    here = [node["$ref"].rsplit("/", 1)[1]] if isinstance(node.get("$ref"), str) else []
    return here + [name for item in node.values() for name in refs(item)]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
