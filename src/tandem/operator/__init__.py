"""RoleBasedGroup on Kubernetes: groups of roles in, workloads, Services and discovery files out.

What decides is pure and reads like a table: `validation` (may this group exist?), `children` (which objects should
exist?), `rollout`, `restarts`, `status`. They take parsed specs (`types`) and what was last seen, and return plain
Kubernetes objects. The shells do the I/O: kopf watches our own kinds and serves admission (`handlers`), `reflector`
watches the children by label, `reconcile` applies by server-side apply with one field manager.

Nothing here imports another room of the same storey. All state that must outlive a restart is in the API server.
"""
