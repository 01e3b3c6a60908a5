"""Kubernetes' own schemas for what is rendered, strict: a field that is not known is a fault."""

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema_rs

from tandem.deploy.objects import Object

SCHEMAS = Path(__file__).parent / "schemas"


@functools.cache
def _schemas(version: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SCHEMAS / f"kubernetes-{version}.json").read_text())
    return found


@functools.cache
def _validator(version: str, kind: str) -> jsonschema_rs.Validator:
    schemas = _schemas(version)
    return jsonschema_rs.validator_for({**schemas["kinds"][kind], "$defs": schemas["$defs"]})


def _of(item: Object, api: str) -> str:
    group = api.split("/")[0].split(".")[0] + "/" + api.split("/")[1] if "/" in api else api
    return f"{group}/{item['kind']}"


def schema_faults(objects: Iterable[Object], version: str) -> tuple[list[str], int]:
    """(faults, how many objects have a schema). Kinds of CRDs have none here; the real server has theirs."""
    faults, checked = [], 0
    for item in objects:
        kind = _of(item, item["apiVersion"])
        if item["apiVersion"].split("/")[0].count(".") and "k8s.io" not in item["apiVersion"]:
            continue
        if item["apiVersion"].startswith(("gateway.", "workloads.")):
            continue
        if kind not in _schemas(version)["kinds"]:
            faults.append(f"{kind} {item['metadata']['name']}: Kubernetes {version} has no such kind here")
            continue
        checked += 1
        for error in _validator(version, kind).iter_errors(item):
            path = ".".join(map(str, error.instance_path))
            faults.append(f"{kind} {item['metadata']['name']}: {path}: {error.message}")
    return faults, checked
