"""One short description of a service in, the Kubernetes objects that run it out.

`description` is what a person writes, `reading` takes it in and names every fault at once, `render` turns it into steps
of plain objects: pure, the same bytes for the same input, one file per kind of object beside it. `guide` renders the
deployment guide's own set instead. `plan` compares with what runs, `diagnosis` says in words what is wrong with it:
both take objects and return text. Only `service` talks to a cluster, through the port in `ports`; its adapter is the
command line's, which knows this room and the operator's client.

Nothing here reads or prints a password: objects name Secrets, and `secrets` makes those that are missing.
"""
