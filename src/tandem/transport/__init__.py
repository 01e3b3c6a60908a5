"""Three planes, each a port with an embedded and a distributed adapter that pass one contract suite.

ports.py        what store, bus, work queue and request plane promise
settings.py     where the servers are, limits and beats              address.py  host:port and unix:/path
tcp.py          the request plane: frames.py, link.py, tcp_server.py, tcp_client.py
hub.py          the embedded store, bus and queues as pure state: hub_store.py, hub_bus.py, hub_queue.py
embedded.py     the ports over a hub in this process (embedded_hub.py is its shell)
embedded_remote.py, embedded_remote_bus.py     the ports over another process's hub (embedded_host.py)
etcd.py, nats/  the real ones                                        lease.py    keeps a lease alive

Nothing that arrives on a port is ever unpickled. No exception of a client library leaves this room.
"""
