"""The thread of an engine that tells decode engines how to read from it, kept alive.

vLLM answers handshakes on NIXL's side channel in a thread that the first message of another kind ends: decode
engines that come later could never read from this engine. And where its port is taken, the thread ends before it
has said that it is ready, and the engine loads for ever.
"""

import contextlib
import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from tandem.engines.vllm.overlay import Overlay

logger = logging.getLogger(__name__)

_HOMES = ("nixl.base_scheduler", "nixl.scheduler", "nixl_connector")
"""Modules of vLLM's connectors where the thread is found: 0.32 first, then older ones."""
_LISTENER = "_nixl_handshake_listener"

_serving = threading.local()
"""What the thread answers with: NIXL's metadata by rank."""


def keep_answering_handshakes() -> None:
    """Let the thread leave aside what is no question, and an engine whose thread cannot listen end at once."""
    module, owner = _home()
    original: Callable[..., None] = getattr(owner, _LISTENER)
    listen = module.zmq_ctx
    router = module.zmq.ROUTER

    @contextlib.contextmanager
    def screened(kind: Any, address: str) -> Iterator[Any]:
        with listen(kind, address) as sock:
            metadata = getattr(_serving, "metadata", None)
            if kind != router or metadata is None:
                yield sock
            else:
                yield Overlay(sock, recv_multipart=lambda: _next_question(sock, metadata))

    def answer(metadata: Mapping[Any, Any], ready: threading.Event, *rest: Any) -> None:
        _serving.metadata = metadata
        try:
            original(metadata, ready, *rest)
        except Exception:
            logger.exception("vllm.handshakes_end")
            if not ready.is_set():
                os._exit(1)  # the engine waits for this thread and would do so for ever

    module.zmq_ctx = screened
    setattr(owner, _LISTENER, staticmethod(answer))


def _next_question(sock: Any, metadata: Mapping[Any, Any]) -> list[bytes]:
    while True:
        parts: list[bytes] = sock.recv_multipart()
        if is_question(parts, metadata):
            return parts
        logger.warning("vllm.not_a_handshake frames=%d bytes=%d", len(parts), sum(map(len, parts)))


def is_question(parts: list[bytes], metadata: Mapping[Any, Any]) -> bool:
    """Whether a message asks for metadata that is there: identity, nothing, and (word, rank, …) in MessagePack."""
    if len(parts) != 3:
        return False
    try:
        asked = msgspec.msgpack.decode(parts[2], type=list[int | bytes])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    ranks = tuple(asked[1:])
    return ranks in metadata or (len(ranks) == 1 and ranks[0] in metadata)


def _home() -> tuple[Any, type]:
    for name in _HOMES:
        try:
            module = importlib.import_module(f"vllm.distributed.kv_transfer.kv_connector.v1.{name}")
        except ModuleNotFoundError:
            continue
        for owner in vars(module).values():
            if isinstance(owner, type) and _LISTENER in vars(owner):
                return sys.modules[owner.__module__], owner
    raise AttributeError(f"no {_LISTENER} in vLLM's NIXL connector")
