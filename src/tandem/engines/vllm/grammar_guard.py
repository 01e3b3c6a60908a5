"""Grammars of clients meet the compiler here first: in processes with a limit, so that the engine never sees a bomb.

    worker ──grammar──► guard ──fork──► a check, with limits on processor time and memory
           ◄──verdict──       ◄────────

The guard is forked (or, beside a GPU, started) with the engine, has one thread and forks a process for each check:
what overflows, loops or crashes the compiler ends that process, and is one client's error.
"""

import asyncio
import contextlib
import hashlib
import os
import resource
import select
import signal
import socket
import sys
import time
from collections import OrderedDict

import msgspec

from tandem.core.request import Grammar
from tandem.engines.vllm.grammar_check import examine
from tandem.engines.vllm_plugin import bind_to_parent
from tandem.errors import EngineFailed, RequestError

CPU_LIMIT_S = 5
"""Processor time of one check."""
MEMORY_LIMIT_BYTES = 1 << 30
"""What a check may allocate."""
_WALL_LIMIT_S = 4.0 * CPU_LIMIT_S
_REMEMBERED = 512
"""Verdicts kept: clients send the same few schemas all day."""
_MOST_BYTES = 1 << 18
"""Of one message to the guard: more than a grammar's own limit, and less than a socket takes at once."""


class GrammarGuard:
    """The worker's side."""

    def __init__(self, pid: int, ours: socket.socket) -> None:
        ours.setblocking(False)
        self.pid = pid
        self._socket = ours
        self._turn = asyncio.Lock()
        self._verdicts: OrderedDict[bytes, asyncio.Task[str]] = OrderedDict()

    @classmethod
    def start(cls, *, fork: bool) -> "GrammarGuard":
        """With `fork` the process must have one thread; what it has imported need not be imported again."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            if not fork:
                theirs.set_inheritable(True)
                command = [sys.executable, "-m", __name__, str(theirs.fileno())]
                return cls(os.posix_spawn(sys.executable, command, os.environ, setpgroup=0), ours)
            parent = os.getpid()
            pid = os.fork()
            if pid == 0:
                ours.close()
                _serve(theirs, parent)
            return cls(pid, ours)

    async def check(self, grammar: Grammar) -> None:
        """Raises `RequestError` for one that no engine should be given, with the field that it came in."""
        key = hashlib.sha256(f"{grammar.kind}\0{grammar.value}".encode()).digest()
        verdict = self._verdicts.get(key)
        if verdict is None or (verdict.done() and verdict.exception() is not None):
            verdict = self._verdicts[key] = asyncio.create_task(self._ask(grammar))
            while len(self._verdicts) > _REMEMBERED:
                self._verdicts.popitem(last=False)
        self._verdicts.move_to_end(key)
        if wrong := await asyncio.shield(
            verdict
        ):  # who leaves does not take the answer from those who wait for the same
            raise RequestError(f"{grammar.field or 'the grammar'}: {wrong}", param=grammar.field or None)

    def close(self) -> None:
        """End it. Safe to repeat."""
        self._socket.close()
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    async def _ask(self, grammar: Grammar) -> str:
        loop = asyncio.get_running_loop()
        try:
            async with self._turn, asyncio.timeout(2 * _WALL_LIMIT_S):
                await loop.sock_sendall(self._socket, msgspec.msgpack.encode(grammar))
                reply = await loop.sock_recv(self._socket, _MOST_BYTES)
        except (OSError, TimeoutError) as error:
            raise EngineFailed(f"grammars cannot be checked: {error!r}") from error
        if not reply:
            raise EngineFailed("grammars cannot be checked: the process that does it ended")
        return msgspec.msgpack.decode(reply, type=str)


def _serve(theirs: socket.socket, parent: int) -> None:
    """The guard's life. Does not return."""
    code = 1
    try:
        bind_to_parent(parent)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while data := theirs.recv(_MOST_BYTES):
            theirs.sendall(msgspec.msgpack.encode(_verdict(msgspec.msgpack.decode(data, type=Grammar))))
        code = 0
    finally:
        os._exit(code)  # what the parent has registered to run at its exit is not ours


def _verdict(grammar: Grammar) -> str:
    """What is wrong with a grammar, found out by a process of its own; empty: nothing is."""
    read, write = os.pipe()
    guard = os.getpid()
    pid = os.fork()
    if pid == 0:
        _check(grammar, write, guard)
    os.close(write)
    try:
        told, ended = _until_closed(read, time.monotonic() + _WALL_LIMIT_S)
        if not ended:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(read)
    if not ended or (os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)):
        return f"it takes more than {CPU_LIMIT_S} s to compile"
    return told.decode() if status == 0 else "the compiler does not survive it"


def _until_closed(read: int, end: float) -> tuple[bytes, bool]:
    """What comes until the other side closes, and whether it did in time."""
    told = b""
    while (left := end - time.monotonic()) > 0:
        if select.select([read], [], [], left)[0]:
            part = os.read(read, 4096)
            if not part:
                return told, True
            told += part
    return told, False


def _check(grammar: Grammar, write: int, guard: int) -> None:
    """One check's life. Does not return."""
    code = 1
    try:
        bind_to_parent(guard)
        with open("/proc/self/statm") as memory:
            in_use = int(memory.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + MEMORY_LIMIT_BYTES,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_S, CPU_LIMIT_S + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.write(write, examine(grammar).encode())
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    from tandem.engines.vllm.process import prepare_environment

    prepare_environment(cpu=False)
    examine(Grammar(kind="json_object"))  # imports what every check needs
    _serve(socket.socket(fileno=int(sys.argv[1])), os.getppid())
