"""A section as the argument list that Dynamo of the guide's time gave to a service. Shown by `--dry-run`.

Nothing is started from it: it is how a reader checks that a configuration means here what it meant there.
"""

import json
from typing import Any

from tandem.settings.document import Section


def as_args(section: Section) -> list[str]:
    """Own keys first, then the common ones that are not overridden, each as the service's parser saw it."""
    return [word for sourced in section.values.values() for word in _words(sourced.key, sourced.value)]


def _words(key: str, value: Any) -> list[str]:
    match value:
        case True:
            return [f"--{key}"]
        case False:
            return [f"--{key}", "false"]
        case dict() | list():
            return [f"--{key}", json.dumps(value)]
        case _:
            return [f"--{key}", str(value)]
