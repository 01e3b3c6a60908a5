"""Docs that drifted: links to files that are gone, `make` targets that do not exist, generated pages out of date.

A page is generated if docs/generate.py makes it; that script's `--check` says which pages differ from what it would write.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

GENERATOR = Path("docs/generate.py")


def pages() -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    names = subprocess.check_output(command, text=True).splitlines()
    return [path for path in map(Path, names) if path.exists()]


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", Path("Makefile").read_text(), re.MULTILINE))


def prose(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def drift(page: Path, known: set[str]) -> Iterator[str]:
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose(text)):
        if not re.match(r"[a-z]+:", link) and not (page.parent / link).exists():
            yield f"{page}: links to {link}, which does not exist"
    for target in re.findall(r"(?:`|^\s*\$? ?)make ([a-z][a-z-]*)", text, re.MULTILINE):
        if target not in known:
            yield f"{page}: names `make {target}`, which does not exist"


if __name__ == "__main__":
    known = targets()
    found = [complaint for page in pages() for complaint in drift(page, known)]
    print(*found, sep="\n", end="\n" if found else "")
    generated = subprocess.run([sys.executable, GENERATOR, "--check"]).returncode if GENERATOR.exists() else 0
    sys.exit(bool(found) or generated)
