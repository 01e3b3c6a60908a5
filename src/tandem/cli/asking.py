"""Questions to the person at the terminal."""

import sys


def agreed(question: str) -> bool:
    """Whether somebody says yes. Nobody there, or the end of input (Ctrl-D), is no."""
    if not sys.stdin.isatty():
        return False
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False
