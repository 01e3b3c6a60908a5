"""`tandem config show GRAPH -f FILE`: each setting, its value, and where that came from."""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from tandem.cli.serve import read_launch
from tandem.cli.table import table


def run(arguments: Sequence[str], *, program: str) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog=program, allow_abbrev=False, description=__doc__)
    parser.add_argument("what", choices=("show",), help="print every setting")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--all", action="store_true", help="also those at their default")
    options, rest = parser.parse_known_args(list(arguments))
    launch, _ = read_launch(rest, program=f"{program} show", environ=dict(os.environ))
    for notice in launch.notices:
        print(f"{program}: {notice}", file=sys.stderr)
    origins = [each for each in launch.configured.origins if options.all or each.origin != "default"]
    engine = [
        (name, key.replace("_", "-"), value, launch.deployment.section(name).values[key].origin)
        for name, service in launch.configured.services.items()
        for key, value in service.engine_args.items()
    ]
    rows = [(each.section, each.key, each.value, each.origin) for each in origins] + engine
    if options.json:
        print(
            json.dumps([dict(zip(("section", "key", "value", "origin"), row, strict=True)) for row in rows], indent=2)
        )
        return 0
    print(table(("SECTION", "KEY", "VALUE", "ORIGIN"), [tuple(map(str, row)) for row in rows]))
    return 0
