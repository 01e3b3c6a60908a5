"""Refuse Python files of more than 400 lines, unless scripts/long_files.txt lists them with a reason."""

import subprocess
import sys
from pathlib import Path

LIMIT_LINES = 400
LISTED = Path("scripts/long_files.txt")


def reasons() -> dict[str, str]:
    rows = (line.partition("  ") for line in LISTED.read_text().splitlines() if line and not line.startswith("#"))
    return {path: reason.strip() for path, _, reason in rows}


def complaints() -> list[str]:
    listed = reasons()
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    paths = [Path(name) for name in subprocess.check_output(command, text=True).splitlines()]
    lines = {str(path): len(path.read_text().splitlines()) for path in paths if path.exists()}
    long = {path for path, count in lines.items() if count > LIMIT_LINES}
    return [
        *(f"{path}: {lines[path]} lines, {LIMIT_LINES} at most; split it" for path in sorted(long - listed.keys())),
        *(f"{LISTED}: {path} is not over {LIMIT_LINES} lines; unlist it" for path in sorted(listed.keys() - long)),
        *(f"{LISTED}: {path} has no reason" for path, reason in listed.items() if not reason),
    ]


if __name__ == "__main__":
    found = complaints()
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(bool(found))
