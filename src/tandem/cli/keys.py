"""`tandem keys new NAME`: make a key, print it once, and print the line for the keys file."""

import argparse
import sys
from collections.abc import Sequence

from tandem.frontend.guard.keys import new_key


def run(arguments: Sequence[str], *, program: str) -> int:
    """The command. Raises `ConfigError` for a name or a limit that cannot be."""
    parser = argparse.ArgumentParser(prog=program, allow_abbrev=False, description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    new = commands.add_parser(
        "new",
        allow_abbrev=False,
        help="make a key",
        description="Makes a key. It is printed once, on stderr; the line for the keys file, which holds its hash "
        "only, on stdout: `tandem keys new alice >> keys.yaml`.",
    )
    new.add_argument("name", metavar="NAME", help="whom it is for: letters, digits and . _ @ -")
    new.add_argument("--stdin", action="store_true", help="take a key of your own from stdin instead of making one")
    for unit in ("requests", "tokens"):
        for period in ("minute", "day"):
            new.add_argument(f"--{unit}-per-{period}", type=int, metavar="N", help=f"most {unit} per {period}")
    new.add_argument("--priority", type=int, metavar="N", help="of its requests; smaller is more urgent, default 0")
    new.add_argument("--model", action="append", dest="models", metavar="NAME", help="a model it may use; repeatable")
    options = vars(parser.parse_args(list(arguments)))
    options.pop("command")
    brought = sys.stdin.readline().rstrip("\r\n") if options.pop("stdin") else None
    name = options.pop("name")
    made = new_key(name, {k.replace("_", "-"): v for k, v in options.items()}, brought)
    if brought is None:
        print(f"{made.key}\n(the key of {made.entry.name}; it is not kept and cannot be shown again)", file=sys.stderr)
    print(made.line)
    return 0
