"""The request plane: direct TCP (or a Unix socket), the worker listens, the caller dials.

frames.py  bytes ↔ frames                        link.py        hello, heartbeat, one write per loop turn
tcp_server.py  runs handlers, bounded windows    tcp_client.py  dials, reads streams, enforces deadlines
"""

from tandem.transport.tcp_client import TcpCallStream, TcpRequestClient
from tandem.transport.tcp_server import TcpRequestServer

__all__ = ["TcpCallStream", "TcpRequestClient", "TcpRequestServer"]
