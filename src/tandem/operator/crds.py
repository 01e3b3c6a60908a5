"""The four CustomResourceDefinitions, generated.

python -m tandem.operator.crds deploy/crds [--check] writes one file per kind, or names those that are out of date.
"""

import json
import sys
from pathlib import Path
from typing import Final

import yaml

from tandem.operator.kinds import AdapterSpec, AdapterStatus, ProfileSpec, SetSpec, SetStatus
from tandem.operator.labels import GROUP
from tandem.operator.schema import schema_of
from tandem.operator.types import GroupSpec, GroupStatus, Raw

_AGE: Final = {"name": "AGE", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


def _column(name: str, path: str, kind: str = "string", **more: object) -> Raw:
    return {"name": name, "type": kind, "jsonPath": path, **more}


_READY: Final = ".status.conditions[?(@.type=='Ready')].status"
_READY_REASON: Final = ".status.conditions[?(@.type=='Ready')].message"


def crds() -> dict[str, Raw]:
    """Plural name → definition. v1alpha1 is stored; v1alpha2 is the same schema, so no webhook converts."""
    return {
        "rolebasedgroups": _crd(
            kind="RoleBasedGroup",
            short="rbg",
            versions=("v1alpha1", "v1alpha2"),
            spec=schema_of(GroupSpec),
            status=schema_of(GroupStatus),
            columns=[_column("READY", _READY), _column("WHY", _READY_REASON, priority=1), _AGE],
        ),
        "rolebasedgroupsets": _crd(
            kind="RoleBasedGroupSet",
            short="rbgs",
            versions=("v1alpha1", "v1alpha2"),
            spec=schema_of(SetSpec),
            status=schema_of(SetStatus),
            scale=(".status.replicas", ".status.selector"),
            columns=[
                _column("DESIRED", ".spec.replicas", "integer"),
                _column("READY", ".status.readyReplicas", "integer"),
                _column("UPDATED", ".status.updatedReplicas", "integer", priority=1),
                _AGE,
            ],
        ),
        "rolebasedgroupscalingadapters": _crd(
            kind="RoleBasedGroupScalingAdapter",
            short="rbgsa",
            versions=("v1alpha1", "v1alpha2"),
            spec=schema_of(AdapterSpec),
            status=schema_of(AdapterStatus),
            scale=(".status.replicas", ".status.selector"),
            columns=[
                _column("PHASE", ".status.phase"),
                _column("REPLICAS", ".status.replicas", "integer"),
                _column("READY_REPLICAS", ".status.readyReplicas", "integer"),
                _AGE,
            ],
        ),
        "clusterengineruntimeprofiles": _crd(
            kind="ClusterEngineRuntimeProfile",
            short="cerp",
            versions=("v1alpha1", "v1alpha2"),
            scope="Cluster",
            spec=schema_of(ProfileSpec),
            columns=[_AGE],
        ),
    }


def _crd(
    *,
    kind: str,
    short: str,
    versions: tuple[str, ...],
    spec: Raw,
    columns: list[Raw],
    status: Raw | None = None,
    scale: tuple[str, str] | None = None,
    scope: str = "Namespaced",
) -> Raw:
    plural = f"{kind.lower()}s"
    properties: Raw = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": spec,
    }
    subresources: Raw = {}
    if status is not None:
        properties["status"] = status
        subresources["status"] = {}
    if scale is not None:
        subresources["scale"] = {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": scale[0],
            "labelSelectorPath": scale[1],
        }
    version: Raw = {
        "served": True,
        "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": properties}},
        "additionalPrinterColumns": columns,
    }
    if subresources:
        version["subresources"] = subresources
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
            },
            "scope": scope,
            "conversion": {"strategy": "None"},
            "versions": [{"name": name, "storage": name == versions[0], **version} for name in versions],
        },
    }


def as_yaml(document: Raw) -> str:
    """YAML without anchors, in the order written here."""
    return yaml.safe_dump(json.loads(json.dumps(document)), sort_keys=False, width=120)


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` compare them: 1 when one is out of date."""
    folder = Path(next(argument for argument in arguments if not argument.startswith("-")))
    files = {folder / f"{GROUP}_{plural}.yaml": as_yaml(document) for plural, document in crds().items()}
    if "--check" in arguments:
        stale = [path for path, text in files.items() if not path.is_file() or path.read_text() != text]
        for path in stale:
            print(f"{path} is out of date: run `python -m tandem.operator.crds {folder}`", file=sys.stderr)  # noqa: T201
        return bool(stale)
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
