"""What vLLM and NIXL print: to stderr, and without the lines that say nothing to whoever runs a service."""

import logging
import sys

_KNOWN = {
    "vllm.engine.arg_utils": "The global random seed is set to",  # so it should be
    "vllm.platforms.cpu": "Reset SSM cache type to float32",  # nothing here has such a cache
    "vllm.v1.worker.cpu_worker": "is not found in LD_PRELOAD",  # a forked engine cannot preload
    "vllm.distributed.kv_transfer.kv_connector.v1.base": "This API is experimental",  # we test it
    "vllm.distributed.kv_transfer.kv_connector.v1.nixl.connector": "kv_role='kv_both'",  # roles may change
    "vllm.v1.core.block_pool": "Failed to reset prefix cache",  # the caller is told
    "torch._library.triton": "Triton not available",
}
"""Warnings that are true of every engine and need nobody's attention, by logger."""
_KNOWN_OF_CONFIG = ("Enforce eager set", "Inductor compilation was disabled", "requires Triton", "Triton is not")


class _Quiet(logging.Filter):
    def __init__(self, *parts: str) -> None:
        super().__init__()
        self._parts = parts

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.WARNING or not any(part in record.getMessage() for part in self._parts)


def quieten() -> None:
    """Safe to repeat. Forked engines inherit it."""
    for name, part in _KNOWN.items():
        _filter(name, part, *_KNOWN_OF_CONFIG)
    _filter("vllm.config.vllm", *_KNOWN_OF_CONFIG)
    nixl = logging.getLogger("nixl")
    nixl.setLevel(logging.WARNING)
    for handler in nixl.handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
            handler.setStream(sys.stderr)


def _filter(name: str, *parts: str) -> None:
    logger = logging.getLogger(name)
    if not any(isinstance(known, _Quiet) for known in logger.filters):
        logger.addFilter(_Quiet(*parts))
