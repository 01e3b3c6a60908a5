"""`tandem ready`: whether all that is served on this host could answer now. The readiness probe of a pod."""

import argparse
import sys
from collections.abc import Sequence

from tandem.cli.table import fetch, system_urls


def run(arguments: Sequence[str], *, program: str) -> int:
    """The command: status 0 when everything is ready, 1 when something is not."""
    parser = argparse.ArgumentParser(prog=program, allow_abbrev=False, description=__doc__)
    parser.add_argument("--url", action="append", default=[], help="system port to ask (repeatable)")
    options = parser.parse_args(list(arguments))
    waiting = [url for url in system_urls(options.url) if fetch(f"{url}/ready") is None]
    for url in waiting:
        print(f"{program}: {url} is not ready; `tandem status` says why", file=sys.stderr)
    return 1 if waiting else 0
