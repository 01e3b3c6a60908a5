"""Where a user's state is kept between runs."""

import logging
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger(__name__)


def state_dir(configured: str | None, environ: Mapping[str, str], namespace: str) -> Path | None:
    """The folder of files and batches; None when there is to be none. Nothing is made yet.

    Args:
        configured: the setting: a folder, or `off`.
        namespace: deployments of different namespaces do not see each other's batches.
    """
    if configured == "off":
        return None
    if configured:
        return Path(configured).expanduser().absolute()
    base = environ.get("XDG_STATE_HOME") or (environ["HOME"] + "/.local/state" if environ.get("HOME") else None)
    if base is None or not base.startswith("/"):
        log.warning("batches.off reason=no_home setting=batch-folder")
        return None
    return Path(base) / "tandem" / namespace.replace("/", "_") / "batches"
