"""What the cluster looked like when we last heard: the second argument of every rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tandem.core.paths import at
from tandem.operator import labels
from tandem.operator.kinds import ProfileSpec
from tandem.operator.types import Group, Raw

Key = tuple[str, str]
"""(kind, name) of an object in the group's namespace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What this API server can do."""

    minor: int = 30
    """Kubernetes 1.<minor>."""
    kinds: frozenset[str] = frozenset()
    """Optional kinds that are installed, as `kind.group`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Children of one group. `objects` also holds namesakes that somebody else owns."""

    objects: Mapping[Key, Raw] = field(default_factory=dict)
    pods: Sequence[Raw] = ()
    profiles: Mapping[str, ProfileSpec] = field(default_factory=dict)
    facts: ServerFacts = ServerFacts()
    ports_taken: frozenset[int] = frozenset()
    """Ports that other groups have."""

    def get(self, kind: str, name: str) -> Raw | None:
        """The object, if there is one."""
        return self.objects.get((kind, name))

    def of(self, kind: str) -> list[Raw]:
        """All objects of a kind."""
        return [item for (found, _), item in self.objects.items() if found == kind]


Ownership = Literal["ours", "adoptable", "former", "foreign"]


def ownership(item: Raw, group: Group) -> Ownership:
    """Whose a namesake of a child is.

    ours: this group controls it. adoptable: nobody controls it and it carries this group's labels. former: an earlier
    group of this name controlled it, and garbage collection will take it. foreign: left alone.
    """
    for owner in at(item, "metadata", "ownerReferences", default=[]):
        if owner.get("uid") == group.uid:
            return "ours"
        if owner.get("controller"):
            same = owner.get("kind") == "RoleBasedGroup" and owner.get("name") == group.name
            return "former" if same else "foreign"
    found = at(item, "metadata", "labels", default={})
    named = group.name in (found.get(labels.NAME), found.get(labels.NEW_NAME))
    return "adoptable" if named else "foreign"
