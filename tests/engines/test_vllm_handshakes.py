"""The side channel of a vLLM engine: its ports are held while it loads, and noise does not end its thread."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import pytest

from tandem.engines.vllm import handshakes
from tandem.engines.vllm.process import held_ports

LISTENER = "_nixl_handshake_listener"
METADATA = {(0, 0): b"of rank 0", (0, 1): b"of rank 1"}


@contextlib.contextmanager
def a_listener(port: int, *, reuse: bool) -> Iterator[None]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        yield


def test_the_engines_ports_are_taken_for_everybody_but_the_engine() -> None:
    with held_ports(3) as start:
        for port in range(start, start + 3):
            with pytest.raises(OSError, match="in use"), a_listener(port, reuse=False):
                pass
            with a_listener(port, reuse=True):  # as ZeroMQ does
                socket.create_connection(("127.0.0.1", port)).close()


def question(*ranks: int) -> list[bytes]:
    return [b"peer", b"", msgspec.msgpack.encode((b"get_meta_msg", *ranks))]


@pytest.mark.parametrize(
    ("parts", "metadata", "answered"),
    [
        (question(0, 1), METADATA, True),
        (question(1), {1: b"older vLLM"}, True),
        (question(0, 7), METADATA, False),
        (question(0), METADATA, False),
        (question(), METADATA, False),
        ([b"peer", b"", b""], METADATA, False),
        ([b"peer", b"", b"\x91" * 100_000], METADATA, False),
        ([b"peer", b"", b"\xa2\xff\xfe"], METADATA, False),
        ([b"peer", b"", msgspec.msgpack.encode((b"get_meta_msg", [0], {}))], METADATA, False),
        ([b"peer", b"no envelope"], METADATA, False),
        ([b"peer"], METADATA, False),
    ],
)
def test_only_questions_that_have_an_answer_are_answered(
    parts: list[bytes], metadata: dict[Any, bytes], answered: bool
) -> None:
    assert handshakes.is_question(parts, metadata) == answered


class Connector:
    """vLLM's thread, as it treats its messages."""

    @staticmethod
    def _nixl_handshake_listener(
        metadata: Any, ready: threading.Event, stop: threading.Event, home: ModuleType
    ) -> None:
        with home.zmq_ctx("router", "tcp://here") as sock:
            ready.set()
            while not stop.is_set():
                identity, _, msg = sock.recv_multipart()
                _, pp_rank, tp_rank = msgspec.msgpack.decode(msg)
                sock.send_multipart((identity, metadata[(pp_rank, tp_rank)]))


def test_noise_does_not_end_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    stop, answers = threading.Event(), []
    messages = [[b"stranger", b"hello"], [b"stranger", b"", b"\xc1"], question(5, 5), question(0, 1)]

    def send(parts: tuple[bytes, bytes]) -> None:
        answers.append(parts)
        stop.set()

    @contextlib.contextmanager
    def zmq_ctx(kind: str, address: str) -> Iterator[Any]:
        yield SimpleNamespace(recv_multipart=lambda: messages.pop(0), send_multipart=send)

    home = ModuleType("home")
    vars(home).update(zmq_ctx=zmq_ctx, zmq=SimpleNamespace(ROUTER="router"), Connector=Connector)
    monkeypatch.setattr(handshakes, "_home", lambda: (home, Connector))
    monkeypatch.setattr(Connector, LISTENER, staticmethod(Connector._nixl_handshake_listener))  # undone afterwards
    handshakes.keep_answering_handshakes()
    Connector._nixl_handshake_listener(METADATA, threading.Event(), stop, home)
    assert answers == [(b"peer", b"of rank 1")]
