"""The version in pyproject.toml is the one at the top of CHANGELOG.md."""

import re
import sys
import tomllib
from pathlib import Path

if __name__ == "__main__":
    version = tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]
    top = re.search(r"^## (\S+)", Path("CHANGELOG.md").read_text(), re.MULTILINE)
    if top is None or top[1] != version:
        sys.exit(f"pyproject.toml says {version}, the top of CHANGELOG.md {top[1] if top else 'nothing'}")
