"""Write the schemas that tests check Kubernetes objects by, from the package `kubernetes-validate` of each release.

python scripts/kube_schemas.py PACKAGE…

PACKAGE is a wheel or an sdist, as `pip download --no-deps kubernetes-validate==VERSION` brings it. Of its newest
release those kinds are kept that we write, without descriptions: 1.37.0 has Kubernetes 1.37, 1.22.3 has 1.22, the
oldest that we claim.
"""

import json
import lzma
import re
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "tests" / "schemas"
KINDS = {
    "io.k8s.api.apps.v1": ("StatefulSet", "Deployment", "DaemonSet", "ControllerRevision"),
    "io.k8s.api.batch.v1": ("Job",),
    "io.k8s.api.core.v1": (
        *("Namespace", "Service", "ServiceAccount", "ConfigMap", "Secret", "Event", "Pod"),
        *("PersistentVolume", "PersistentVolumeClaim", "PodTemplateSpec"),
    ),
    "io.k8s.api.rbac.v1": ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"),
    "io.k8s.api.policy.v1": ("PodDisruptionBudget",),
    "io.k8s.api.networking.v1": ("Ingress", "NetworkPolicy"),
    "io.k8s.api.autoscaling.v2": ("HorizontalPodAutoscaler",),
    "io.k8s.api.autoscaling.v2beta2": ("HorizontalPodAutoscaler",),
    "io.k8s.api.coordination.v1": ("Lease",),
    "io.k8s.api.admissionregistration.v1": ("ValidatingWebhookConfiguration",),
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1": ("CustomResourceDefinition",),
}


def definitions(package: Path) -> tuple[str, dict[str, Any]]:
    """The newest release in a package, and its strict definitions."""
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as archive:
            pages = {name: archive.read(name) for name in archive.namelist() if _is_page(name)}
    else:
        with tarfile.open(package) as archive:
            pages = {}
            for member in archive:
                content = archive.extractfile(member) if _is_page(member.name) else None
                if content is not None:
                    pages[member.name] = content.read()
    newest = max(pages, key=lambda name: [int(part) for part in _release(name).split(".")])
    page = json.loads(pages[newest])
    return _release(newest), page.get("definitions") or page["$defs"]


def _is_page(name: str) -> bool:
    return name.endswith("-local-strict/_definitions.json")


def _release(name: str) -> str:
    return str(re.findall(r"/v([0-9.]+)-local-strict/", name)[0])


def kept(found: dict[str, Any]) -> dict[str, Any]:
    """Our kinds and all that they refer to."""
    wanted = [f"{group}.{kind}" for group, kinds in KINDS.items() for kind in kinds]
    made: dict[str, Any] = {}
    while wanted:
        name = wanted.pop()
        if name in made or name not in found:
            continue
        made[name] = _bare(found[name], wanted)
    return dict(sorted(made.items()))


def _bare(value: Any, wanted: list[str]) -> Any:
    """A schema without descriptions and extensions, with references into one file."""
    if isinstance(value, list):
        return [_bare(each, wanted) for each in value]
    if not isinstance(value, dict):
        return value
    bare: dict[str, Any] = {}
    for key, each in value.items():
        if key == "$ref":
            name = str(each).rpartition("/")[2]
            wanted.append(name)
            bare[key] = f"#/definitions/{name}"
        elif key == "properties":  # names of fields, whatever they are
            bare[key] = {field: _bare(schema, wanted) for field, schema in each.items()}
        elif key != "description" and not key.startswith("x-kubernetes-"):
            bare[key] = _bare(each, wanted)
    return bare


def main(arguments: list[str]) -> int:
    """One file per package."""
    for each in arguments:
        release, found = definitions(Path(each))
        text = json.dumps({"definitions": kept(found)}, separators=(",", ":"), sort_keys=True)
        path = FOLDER / f"kubernetes-{'.'.join(release.split('.')[:2])}.json.xz"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(lzma.compress(text.encode(), preset=9))
        print(f"{path}: {len(text)} characters, {path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
