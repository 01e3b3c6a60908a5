"""The supervisor's side of zygotes and of the processes they fork.

`ZygoteClient` starts a zygote and speaks its protocol; `Running` is one live process with its control
channel and its log lines.
"""

import asyncio
import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import msgspec

from tandem.errors import Unavailable
from tandem.graph.control import Answer, Ask, Assign, Channel, State, Stop, What
from tandem.graph.zygote import Command, Exited, Fork, Forked, Preload, Preloaded, Report, Signal, Sweep

_ASK_TIMEOUT_S = 2.0
_CHUNK = 65536


class ZygoteClient:
    """One zygote. Started on first use; a dead one is reported through the exits of its children."""

    def __init__(self, on_preloaded: Callable[[Preloaded], None] | None = None) -> None:
        self._on_preloaded = on_preloaded
        self._jobs = itertools.count(1)
        self._forked: dict[int, asyncio.Future[int]] = {}
        self._exits: dict[int, asyncio.Future[int]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    @property
    def alive(self) -> bool:
        """Whether it can fork."""
        return self._socket is not None

    def start(self, environ: Mapping[str, str]) -> None:
        """Start the interpreter; commands can be sent at once and wait until it is up."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            for end in (ours, its):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tandem.graph.zygote", str(its.fileno()), str(os.getpid())],
                pass_fds=[its.fileno()],
                env=dict(environ),
                stdin=subprocess.DEVNULL,
            )
        ours.setblocking(False)
        self._socket = ours
        asyncio.get_running_loop().add_reader(ours, self._readable)

    def preload(self, engine: str) -> None:
        """Import an engine's libraries before the forks that follow."""
        self._send(Preload(engine))

    def sweep(self, paths: Sequence[str]) -> None:
        """Files that the zygote removes should we die without doing so."""
        self._send(Sweep(list(paths)))

    async def fork(
        self, *, env: Mapping[str, str], working_dir: str, title: str, anew: bool, fds: Sequence[int]
    ) -> tuple[int, asyncio.Future[int]]:
        """Start a process; returns its pid and a future of its exit status.

        Raises: Unavailable when the zygote is dead.
        """
        job = next(self._jobs)
        forked = self._forked[job] = asyncio.get_running_loop().create_future()
        self._send(Fork(job=job, env=dict(env), working_dir=working_dir, title=title, anew=anew), fds)
        pid = await forked
        return pid, self._exits[pid]

    def signal(self, pid: int, number: int, *, group: bool = False) -> None:
        """Signal a process that this zygote forked; nothing happens when it is dead already."""
        with suppress(Unavailable):
            self._send(Signal(pid, number, group))

    def close(self) -> None:
        """End the zygote, and with it whatever still runs. Safe to repeat."""
        self._lost()
        if self._process is not None:
            self._process.wait()
            self._process = None

    def _send(self, command: Command, fds: Sequence[int] = ()) -> None:
        if self._socket is None:
            raise Unavailable("the zygote is dead")
        try:
            socket.send_fds(self._socket, [msgspec.msgpack.encode(command)], list(fds))
        except OSError as error:
            self._lost()
            raise Unavailable(f"the zygote is dead: {error}") from error

    def _readable(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        match msgspec.msgpack.decode(data, type=Report):
            case Forked(job, pid):
                self._exits[pid] = asyncio.get_running_loop().create_future()
                _settle(self._forked.pop(job), pid)
            case Exited(pid, status):
                _settle(self._exits.pop(pid), status)
            case Preloaded() as preloaded if self._on_preloaded:
                self._on_preloaded(preloaded)

    def _lost(self) -> None:
        """Its children die with it: say so to whoever waits for them."""
        if self._socket is None:
            return
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._socket = None
        for forked in self._forked.values():
            _settle(forked, Unavailable("the zygote died"))
        for pid, exited in self._exits.items():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)  # the kernel has killed it; what it had started is left to us
            _settle(exited, -signal.SIGKILL)
        self._forked.clear()
        self._exits.clear()


def _settle(future: asyncio.Future[int], outcome: int | Unavailable) -> None:
    """Unless whoever waited has been cancelled."""
    if future.done():
        return
    if isinstance(outcome, Unavailable):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


class Running:
    """One live process."""

    def __init__(self, pid: int, exited: asyncio.Future[int], channel: Channel, zygote: ZygoteClient) -> None:
        self.pid = pid
        self.exited = exited
        self.state = State("importing")
        self._channel = channel
        self._zygote = zygote
        self._questions: dict[int, asyncio.Future[bytes]] = {}
        self._ids = itertools.count(1)
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def start(
        cls,
        zygote: ZygoteClient,
        assign: Assign,
        *,
        env: Mapping[str, str],
        anew: bool,
        on_line: Callable[[str], None],
        on_state: Callable[[State], None],
        door: socket.socket | None = None,
    ) -> "Running":
        """Fork it and tell it what it is. `door`: the socket of a front door that it shares."""
        ours, its = socket.socketpair()
        log_read, log_write = os.pipe()
        try:
            pid, exited = await zygote.fork(
                env=env,
                working_dir=assign.working_dir,
                title=assign.name,
                anew=anew,
                fds=[its.fileno(), log_write, log_write, *([door.fileno()] if door is not None else [])],
            )
        except BaseException:
            ours.close()
            os.close(log_read)
            raise
        finally:
            its.close()
            os.close(log_write)
        running = cls(pid, exited, await Channel.over(ours), zygote)
        running._channel.send(assign)
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(log_read, "rb", 0)
        )
        running._tasks = [
            loop.create_task(_relay_lines(reader, transport, on_line), name=f"{assign.name} log"),
            loop.create_task(running._listen(on_state), name=f"{assign.name} control"),
        ]
        return running

    async def ask(self, what: What, argument: str = "") -> bytes:
        """An answer for the system port; empty when the process is too busy to give one."""
        number = next(self._ids)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._questions[number] = answer
        self._channel.send(Ask(number, what, argument))
        try:
            async with asyncio.timeout(_ASK_TIMEOUT_S):
                return await answer
        except TimeoutError:
            return b""
        finally:
            self._questions.pop(number, None)

    def stop(self, drain_timeout_s: float) -> None:
        """Ask it to drain and exit."""
        self._channel.send(Stop(drain_timeout_s))

    def kill(self) -> None:
        """Kill it and what it started, now."""
        self._zygote.signal(self.pid, signal.SIGKILL, group=True)

    async def over(self) -> int:
        """Wait for its end and for its last log line; returns the exit status."""
        status = await asyncio.shield(self.exited)
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):  # something it started may hold the pipe open
                await asyncio.gather(*self._tasks)
        for task in self._tasks:
            task.cancel()
        await self._channel.aclose()
        return status

    async def _listen(self, on_state: Callable[[State], None]) -> None:
        while (message := await self._channel.receive()) is not None:
            match message:
                case State():
                    self.state = message
                    on_state(message)
                case Answer(id, body) if id in self._questions:
                    self._questions[id].set_result(body)
        for question in self._questions.values():
            if not question.done():
                question.set_result(b"")


async def _relay_lines(
    reader: asyncio.StreamReader, transport: asyncio.BaseTransport, on_line: Callable[[str], None]
) -> None:
    """Whole lines as they come; a line without end is cut, so that nothing grows without bound."""
    rest = b""
    try:
        while chunk := await reader.read(_CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _CHUNK:
                lines, rest = [*lines, rest], b""
            for line in lines:
                on_line(line.decode("utf-8", "replace"))
        if rest:
            on_line(rest.decode("utf-8", "replace"))
    finally:
        transport.close()
