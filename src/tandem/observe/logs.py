"""Log lines: an event name, then `key=value`, on stderr.

    log = logging.getLogger(__name__)
    log.warning("prefill.requeued request_id=%s attempt=%d reason=%s", request_id, 2, "instance_lost")

Levels come as one text, the form that Dynamo users know: `info`, or `info,tandem.router=debug`. INFO is
what an operator wants at three in the morning: a line per life-cycle step, none per token or request.
Never log a prompt, an answer or a key.
"""

import logging
import sys
from collections.abc import Mapping
from typing import Final, TextIO

import msgspec

from tandem.errors import ConfigError

_LEVELS: Final = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "off": logging.CRITICAL,
}
_QUIET: Final = {"uvicorn": logging.WARNING, "asyncio": logging.WARNING, "httpx": logging.WARNING}
"""Libraries whose INFO lines repeat what ours say."""


def levels_from(environ: Mapping[str, str]) -> str:
    """The levels that the environment asks for: `TANDEM_LOG`, else `DYN_LOG`, else `info`."""
    return environ.get("TANDEM_LOG") or environ.get("DYN_LOG") or "info"


def configure(levels: str = "info", *, form: str = "text", stream: TextIO | None = None, process: str = "") -> None:
    """Send every logger's lines to `stream` (stderr). Called once per process, and safe to repeat.

    Args:
        levels: default level and, after commas, `logger=level` pairs.
        form: `text`, or `json` for one object per line.
        process: who speaks, when several processes share a terminal (`decode-0`).
    Raises:
        ConfigError: a level that does not exist.
    """
    by_logger = parse_levels(levels)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonLines(process) if form == "json" else _Text(process))
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h.formatter, _Text | _JsonLines)]:
        root.removeHandler(old)
    root.addHandler(handler)
    for name, level in {**_QUIET, **by_logger}.items():
        logging.getLogger(name).setLevel(level)


def parse_levels(levels: str) -> dict[str, int]:
    """`info,tandem.router=debug` as logger names ("" is the root) to levels."""
    found = {"": logging.INFO}
    for part in filter(None, (text.strip() for text in levels.split(","))):
        name, _, level = part.rpartition("=")
        if level.lower() not in _LEVELS:
            raise ConfigError(f"log level {level!r} is unknown; choose from {', '.join(_LEVELS)}")
        found[name.strip().replace("::", ".")] = _LEVELS[level.lower()]
    return found


def fields(**values: object) -> str:
    """`key=value` pairs, quoted where a value has spaces: for a line whose fields are not fixed."""
    return " ".join(f"{key}={_quoted(value)}" for key, value in values.items() if value is not None)


def _quoted(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return msgspec.json.encode(text).decode() if not text or any(c in text for c in ' "=\n') else text


class _Text(logging.Formatter):
    def __init__(self, process: str) -> None:
        who = f" [{process}]" if process else ""
        super().__init__(f"%(asctime)s.%(msecs)03d %(levelname)-7s{who} %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")


class _JsonLines(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": record.created,
            "level": record.levelname,
            "target": record.name,
            "process": self._process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()
