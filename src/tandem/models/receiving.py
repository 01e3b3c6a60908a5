"""What a killed pull has to fetch again: bytes that had come to this machine and were not written yet.

They wait in the kernel, above all when a near server sends faster than we read and the kernel makes room for it. There
a small buffer costs no speed. A far server is left to the kernel: what is on the way fills its buffer, not we.
"""

import socket
import sys

from tandem.models.workspace import PART_BYTES

_NEAR_US = 2000
"""Round trips shorter than this are of the same site: 200 kB, which every kernel grants, are 100 MB/s by then."""
_MIN_RTT = slice(148, 152)
"""Where Linux' `struct tcp_info` has the shortest round trip, in microseconds."""


def bound_unread(connection: socket.socket, connections: int) -> None:
    """Let this many connections to a near server hold half a part between them; the other half is for libraries."""
    if sys.platform != "linux":
        return
    told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _MIN_RTT.stop)[_MIN_RTT]
    if len(told) == 4 and int.from_bytes(told, sys.byteorder) < _NEAR_US:
        # The kernel doubles it, for what it writes beside the bytes.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PART_BYTES // 4 // connections)
