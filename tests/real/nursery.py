"""A process that has imported vLLM once and forks a worker per order: `python -m tests.real.nursery DESCRIPTOR`.

It never computes, opens nothing and has one thread, since whatever is forked here inherits all of it. When
whoever gives the orders is gone, it goes too, and the kernel kills every worker with it.
"""

import gc
import os
import signal
import socket
import sys

import msgspec
from tests.real.node import Order, run

from tandem.engines.vllm.process import preload
from tandem.engines.vllm_plugin import bind_to_parent


def main() -> None:
    bind_to_parent(os.getppid())
    orders = socket.socket(fileno=int(sys.argv[1]))
    preload()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    orders.send(b"preloaded")
    while data := orders.recv(1 << 16):
        order = msgspec.msgpack.decode(data, type=Order)
        nursery = os.getpid()
        if pid := os.fork():
            orders.send(str(pid).encode())
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        orders.close()
        bind_to_parent(nursery)
        run(order)


if __name__ == "__main__":
    main()
