"""Write the generated pages of the docs; with `--check`, name everything in the docs that drifted instead.

Drift is a generated page that is out of date, a link to a file that is gone, or a `make` target that does not exist.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# Each module is run as `python -m MODULE PAGE [--check]` and exits 1 when the page is out of date.
GENERATED = {
    "docs/reference/metrics.md": "tandem.observe.reference",
    "docs/reference/settings.md": "tandem.settings.reference",
}


def generate(*arguments: str) -> bool:
    commands = [[sys.executable, "-m", module, page, *arguments] for page, module in GENERATED.items()]
    statuses = [subprocess.run(command).returncode for command in commands]
    return not any(statuses)


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


def main(arguments: list[str]) -> int:
    if arguments != ["--check"]:
        return 0 if generate() else 1
    known = targets()
    found = [complaint for page in pages() for complaint in drift(page, known)]
    print(*found, sep="\n", end="\n" if found else "")
    return 0 if generate("--check") and not found else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
