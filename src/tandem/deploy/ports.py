"""What this room asks of a cluster. The adapter is the command line's, which knows the operator's client."""

from collections.abc import Sequence
from typing import Protocol

from tandem.deploy.objects import Object


class Refused(Exception):
    """The API server said no, in its own words. `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Forbidden(Refused):
    """Whoever asks may not."""


class Cluster(Protocol):
    """One Kubernetes API server. What it refuses comes as `Refused`; that it cannot be reached, as `Unavailable`."""

    async def minor(self) -> int:
        """It is Kubernetes 1.`minor`."""
        ...

    async def serves(self, api: str, kind: str) -> bool:
        """Whether it knows a kind of an API version."""
        ...

    async def get(self, item: Object) -> Object | None:
        """The live object of the same kind and name."""
        ...

    async def apply(self, item: Object, *, dry_run: bool) -> Object:
        """Server-side apply as our field manager; what the object is, or would be, afterwards."""
        ...

    async def create(self, item: Object) -> None:
        """Make an object that must not be there yet."""
        ...

    async def delete(self, item: Object) -> None:
        """Delete exactly this live object. One that is gone already is fine."""
        ...

    async def listed(self, api: str, kind: str, namespace: str | None, selector: str = "") -> Sequence[Object]:
        """Objects with these labels; none where the kind is not served."""
        ...

    async def log(self, namespace: str, pod: str, container: str, *, previous: bool) -> str:
        """The end of a container's log; empty where there is none."""
        ...
