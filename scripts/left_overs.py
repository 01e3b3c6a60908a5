"""Print the installed packages that the lock file does not name, so that set-up can take them away."""

import re
import sys
from importlib.metadata import distributions
from pathlib import Path

NOT_IN_THE_LOCK = {"pip", "tandem-pd", "torch"}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main(lock: str) -> None:
    locked = {normalised(name) for name in re.findall(r"^([\w.-]+)==", Path(lock).read_text(), re.MULTILINE)}
    installed = {normalised(distribution.name) for distribution in distributions()}
    print(*sorted(installed - locked - NOT_IN_THE_LOCK))


if __name__ == "__main__":
    main(sys.argv[1])
