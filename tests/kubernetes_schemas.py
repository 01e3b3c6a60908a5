"""Objects against the schemas of the oldest Kubernetes that we claim and of the newest.

The schemas are strict: an unknown field is an error. `scripts/kube_schemas.py` made the files, from published packages.
"""

import json
import lzma
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

RELEASES = ("1.22", "1.37")
_FOLDER = Path(__file__).parent / "schemas"
_PACKAGES = {
    "v1": "io.k8s.api.core.v1",
    "rbac.authorization.k8s.io/v1": "io.k8s.api.rbac.v1",
    "apiextensions.k8s.io/v1": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1",
}


def knows(release: str, item: Mapping[str, Any]) -> bool:
    """Whether a release has the object's kind; it has no kind of a CRD."""
    return _name(item) in _schemas(release)


def faults(release: str, item: Mapping[str, Any], name: str | None = None) -> list[str]:
    """What a release's schema says against an object, in words, with paths. `name`: of another schema than its own."""
    what = f"{item.get('kind')} {(item.get('metadata') or {}).get('name')}"
    return [
        f"{what} {'.'.join(map(str, error.instance_path))}: {error.message[:300]}"
        for error in _validator(release, name or _name(item)).iter_errors(item)
    ]


def _name(item: Mapping[str, Any]) -> str:
    version = str(item["apiVersion"])
    group, _, number = version.partition("/")
    package = _PACKAGES.get(version) or f"io.k8s.api.{group.removesuffix('.k8s.io')}.{number}"
    return f"{package}.{item['kind']}"


@cache
def _schemas(release: str) -> dict[str, Any]:
    page = lzma.decompress((_FOLDER / f"kubernetes-{release}.json.xz").read_bytes())
    found: dict[str, Any] = json.loads(page)["definitions"]
    return found


@cache
def _validator(release: str, name: str) -> jsonschema_rs.Draft7Validator:
    schema = {"definitions": _schemas(release), "$ref": f"#/definitions/{name}"}
    return jsonschema_rs.Draft7Validator(schema, validate_formats=False)
