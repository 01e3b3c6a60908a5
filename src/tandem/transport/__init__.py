"""Three planes, each a port with an embedded and a distributed adapter that pass one contract suite.

ports.py     what store, bus, work queue and request plane promise    frames.py    bytes ↔ frames
hub.py       the embedded store and bus, as pure state and a clock    tcp.py       the request plane
embedded.py  reach a hub in this process or over a Unix socket        etcd.py, nats.py  the real ones

Nothing that arrives on a port is ever unpickled. No exception of a client library leaves this room.
"""
