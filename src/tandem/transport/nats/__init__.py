"""The bus and the work queues on NATS, core and JetStream, with nothing newer than nats-server 2.9.

connection.py  one connection that comes back by itself    bus.py         publish and subscribe
login.py       user, token, nkey, creds file, TLS          work_queue.py  jobs in lanes on a stream
jetstream.py   the few JetStream requests that we need     pull.py        asking several lanes at once
"""

from tandem.transport.nats.bus import NatsBus

__all__ = ["NatsBus"]
