"""TCP connections between two processes, broken from outside: neither of them helps, both live on. Linux.

A copy of a process's socket (pidfd_getfd) is as good as the socket itself for what is done to the connection.
"""

import ctypes
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

import psutil

_PIDFD_GETFD = 438
_SO_ATTACH_FILTER = 26
_DROP = struct.pack("HBBI", 6, 0, 0, 0)
"""BPF: keep no byte of any packet."""


def close(one: int, other: int) -> int:
    """End every connection between the processes, as a proxy that restarts would. Returns how many there were."""
    return _each(one, other, _shut)


def silence(one: int, other: int) -> int:
    """Drop all that arrives on them from now on, as a pulled cable would: no end of them is told."""
    return _each(one, other, _deafen)


def _each(one: int, other: int, break_it: Callable[[socket.socket], None]) -> int:
    ends = {pid: _connections(pid) for pid in (one, other)}
    between = [(pid, fd) for pid, far in ((one, other), (other, one)) for fd in _shared(ends[pid], ends[far])]
    for pid, fd in between:
        with suppress(OSError), _copy(pid, fd) as end:  # it may be closed by now
            break_it(end)
    return len(between) // 2


Ends = dict[int, tuple[object, object]]
"""Own and far address by file descriptor."""


def _connections(pid: int) -> Ends:
    found = psutil.Process(pid).net_connections("tcp")
    return {end.fd: (end.laddr, end.raddr) for end in found if end.status == psutil.CONN_ESTABLISHED}


def _shared(mine: Ends, theirs: Ends) -> list[int]:
    addresses = {(far, own) for own, far in theirs.values()}
    return [fd for fd, ends in mine.items() if ends in addresses]


def _copy(pid: int, fd: int) -> socket.socket:
    process = os.pidfd_open(pid)
    try:
        copied = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, process, fd, 0)
        if copied < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
    finally:
        os.close(process)
    return socket.socket(fileno=copied)


def _shut(end: socket.socket) -> None:
    end.shutdown(socket.SHUT_RDWR)


def _deafen(end: socket.socket) -> None:
    program = ctypes.create_string_buffer(_DROP)
    end.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(program)))
