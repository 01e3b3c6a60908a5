"""A single-threaded process that forks the others: no event loop, no tensor, no socket but its command pipe.

    supervisor ── Fork + descriptors ──► zygote ─fork─► process
    supervisor ◄── Forked, Exited ─────

An engine's libraries are imported here once, so that each of its workers starts in the time of a fork.
What will use CUDA is forked and executed anew, for CUDA does not survive a fork.

Nobody is left behind. A zygote whose supervisor is gone, which it sees at once on its command pipe, kills
the process groups of its children, with whatever engine processes they started; each process asks the
kernel to be killed with the zygote.
"""

import contextlib
import ctypes
import fcntl
import gc
import os
import select
import selectors
import signal
import socket
import stat
import sys
import time
from collections.abc import Iterator, Sequence

import msgspec

PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 1, 15, 36
CONTROL_FD = 3
"""Where a process finds its control socket."""
DOOR_FD = 4
"""Where it finds the socket of a front door that it shares with others."""
_MAX_MESSAGE = 1 << 20
_GRACE_S = 1.0
"""What a dead process had started may end by itself for this long: Python's resource tracker then removes the
semaphores in /dev/shm, which nobody else would."""


class Fork(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Start a process. Comes with three descriptors: control, standard output, standard error; perhaps with a fourth,
    the socket of a front door."""

    job: int
    env: dict[str, str]
    working_dir: str
    title: str
    anew: bool
    """Execute a fresh interpreter instead of going on in the forked one."""


class Preload(msgspec.Struct, frozen=True, tag=True):
    """Import an engine's libraries."""

    engine: str


class Signal(msgspec.Struct, frozen=True, tag=True):
    """Send a signal to a process, or to its whole group."""

    pid: int
    number: int
    group: bool


class Sweep(msgspec.Struct, frozen=True, tag=True):
    """Files to remove should the supervisor die without doing so."""

    paths: list[str]


class Forked(msgspec.Struct, frozen=True, tag=True):
    """The process of `job` runs."""

    job: int
    pid: int


class Exited(msgspec.Struct, frozen=True, tag=True):
    """A process ended; `status` as in subprocess: negative for a signal."""

    pid: int
    status: int


class Preloaded(msgspec.Struct, frozen=True, tag=True):
    """The libraries are there, or why not."""

    engine: str
    seconds: float
    error: str = ""


Command = Fork | Preload | Signal | Sweep
Report = Forked | Exited | Preloaded


class _BecomeProcess(Exception):
    """Leaves the zygote's loop in the forked process."""


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill us when our parent dies; exit now if it is dead already."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def set_title(title: str) -> None:
    """The name that `ps` and `top` show: 15 characters."""
    ctypes.CDLL(None).prctl(PR_SET_NAME, title.encode()[:15], 0, 0, 0)


class Zygote:
    """The loop. `run` returns only in a forked process."""

    def __init__(self, commands: socket.socket) -> None:
        self._commands = commands
        self._selector = selectors.DefaultSelector()
        self._children: set[int] = set()
        self._wake, self._woken = socket.socketpair()
        """SIGCHLD makes the second readable."""
        self._ending: dict[int, float] = {}
        """Groups whose leader is gone → when what is left of them is killed."""
        self._sweep: Marks = {}
        self._preset: dict[str, str] = {}
        """Variables that an engine set while it was imported; its workers need them too."""

    def run(self) -> None:
        """Serve commands until the supervisor is gone."""
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(self._commands, selectors.EVENT_READ, self._command)
        self._selector.register(self._woken, selectors.EVENT_READ, self._reap)
        with contextlib.suppress(_BecomeProcess):
            while True:
                for key, _ in self._selector.select(_GRACE_S if self._ending else None):
                    key.data()
                self._end_late_groups(time.monotonic())

    def _command(self) -> None:
        data, fds, _, _ = socket.recv_fds(self._commands, _MAX_MESSAGE, 4)
        if not data:
            self._end()
        match msgspec.msgpack.decode(data, type=Command):
            case Fork() as fork:
                self._fork(fork, fds)
            case Preload(engine):
                self._preload(engine)
            case Signal(pid, number, group):
                if pid in self._children:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        (os.killpg if group else os.kill)(pid, number)
            case Sweep(paths):
                self._sweep = marked(paths)

    def _fork(self, fork: Fork, fds: list[int]) -> None:
        zygote = os.getpid()
        pid = os.fork()
        if pid:
            for fd in fds:
                os.close(fd)
            self._children.add(pid)
            self._report(Forked(fork.job, pid))
            return
        self._become(fork, fds, zygote)

    def _become(self, fork: Fork, fds: list[int], zygote: int) -> None:
        os.setsid()
        die_with_parent(zygote)
        self._selector.close()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for ours in (self._commands, self._wake, self._woken):
            ours.close()
        control, out, err, *door = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in fds)
        for fd in fds:
            os.close(fd)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.dup2(control, CONTROL_FD, inheritable=fork.anew)
        if door:
            os.dup2(door[0], DOOR_FD, inheritable=fork.anew)
        for fd in (control, out, err, *door):
            os.close(fd)
        os.chdir(fork.working_dir)
        set_title(fork.title)
        if fork.anew:
            os.execve(sys.executable, [sys.executable, "-m", "tandem.graph.child"], fork.env)
        os.environ.clear()
        os.environ.update({**self._preset, **fork.env})
        raise _BecomeProcess

    def _preload(self, engine: str) -> None:
        began = time.monotonic()
        before = dict(os.environ)
        error = ""
        try:
            from tandem.graph.engine_keys import preload

            with self._heeding_the_end():
                preload(engine)
        except Exception as failed:  # its worker will say it again, in its own log
            error = f"{type(failed).__name__}: {failed}"
        self._preset |= {key: value for key, value in os.environ.items() if before.get(key) != value}
        gc.collect()
        gc.freeze()
        self._report(Preloaded(engine, time.monotonic() - began, error))

    @contextlib.contextmanager
    def _heeding_the_end(self) -> Iterator[None]:
        """Imports take half a minute: meanwhile a signal, not the loop, says that the supervisor is gone."""
        hung_up = select.poll()
        hung_up.register(self._commands, 0)  # commands may wait in front of the end: only the hang-up counts

        def heed(*_: object) -> None:
            if hung_up.poll(0):
                self._end()

        signal.signal(signal.SIGIO, heed)
        flags = fcntl.fcntl(self._commands, fcntl.F_GETFL)
        fcntl.fcntl(self._commands, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(self._commands, fcntl.F_SETFL, flags | os.O_ASYNC)
        try:
            heed()  # it may have gone before
            yield
        finally:
            fcntl.fcntl(self._commands, fcntl.F_SETFL, flags)

    def _reap(self) -> None:
        """Take leave of whoever ended: our children, and orphans of theirs, which the kernel hands to us."""
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            pid: int = ended.si_pid
            if pid in self._children:  # what it had started must not outlive it; the dead still hold the group's id
                self._end_group(pid, signal.SIGTERM)
                self._ending[pid] = time.monotonic() + _GRACE_S
            _, status = os.waitpid(pid, 0)
            if pid in self._children:
                self._children.discard(pid)
                self._report(Exited(pid, os.waitstatus_to_exitcode(status)))

    def _end_late_groups(self, now: float) -> None:
        """Kill what is left of a process whose grace is over."""
        for pid in [pid for pid, until in self._ending.items() if now >= until]:
            del self._ending[pid]
            self._end_group(pid, signal.SIGKILL)

    def _end_group(self, pid: int, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)

    def _report(self, report: Report) -> None:
        try:
            self._commands.send(msgspec.msgpack.encode(report))
        except OSError:
            self._end()

    def _end(self) -> None:
        """The supervisor is gone: nobody may outlive it."""
        for pid in self._children:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            self._end_group(pid, signal.SIGTERM)
        until = time.monotonic() + _GRACE_S
        with contextlib.suppress(ChildProcessError):  # raised when nobody is left
            while time.monotonic() < until:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.01)
        for pid in (*self._children, *self._ending):
            self._end_group(pid, signal.SIGKILL)
        sweep(self._sweep)
        os._exit(0)


Marks = dict[str, tuple[int, int]]
"""Files by path, each with what tells it from another one that takes its place."""


def marked(paths: Sequence[str]) -> Marks:
    """The files that are there now."""
    found = {}
    for path in paths:
        with contextlib.suppress(OSError):
            found[path] = _mark(path)
    return found


def sweep(files: Marks) -> None:
    """Remove them, unless somebody has put his own in their place: another supervisor hosts the planes by now."""
    for path, mark in files.items():
        with contextlib.suppress(OSError):
            if _mark(path) == mark:
                os.unlink(path)


def _mark(path: str) -> tuple[int, int]:
    about = os.stat(path)
    # A socket's number may be given out again at once; a file of ours is written more than once.
    return about.st_ino, about.st_ctime_ns if stat.S_ISSOCK(about.st_mode) else 0


def main() -> int:
    """`python -m tandem.graph.zygote FD PARENT`."""
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    os.setsid()
    if os.getppid() != parent:
        return 1
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    set_title("tandem zygote")
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    import tandem.graph.child as child  # what every process needs, imported once

    gc.collect()
    gc.freeze()
    Zygote(socket.socket(fileno=descriptor)).run()
    for again in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGIO):
        signal.signal(again, signal.SIG_DFL)
    return child.main()


if __name__ == "__main__":
    sys.exit(main())
