"""What `tandem rbg` prints, as text from objects. Pure."""

import difflib
import json
from collections.abc import Sequence
from datetime import datetime

import yaml

from tandem.core.paths import at
from tandem.errors import ConfigError
from tandem.operator.faults import InvalidGroup
from tandem.operator.parse import parse_spec
from tandem.operator.restarts import parse_time
from tandem.operator.revisions import content, remembered, revisions_of, same_content
from tandem.operator.types import GroupSpec, Raw

_BAR_CHARACTERS = 16


def status_text(group: Raw, now: datetime) -> str:
    """How a group is: its roles with a bar each, and in words what is not ready.

    Raises:
        ConfigError: no operator has looked at the group yet.
    """
    status = group.get("status") or {}
    if not status.get("conditions"):
        raise ConfigError("status not found: no operator has looked at this group yet")
    roles = status.get("roleStatuses") or []
    wished = {role["name"]: role.get("replicas", 1) for role in at(group, "spec", "roles", default=[])}
    metadata = group["metadata"]
    lines = ["📊 Resource Overview", f"  Namespace: {metadata['namespace']}", f"  Name:      {metadata['name']}", ""]
    lines += [f"  Age:       {age(parse_time(metadata['creationTimestamp']), now)}", "", "📦 Role Statuses"]
    total = ready_total = 0
    for role in roles:
        count, ready = wished.get(role["name"], role["replicas"]), role["readyReplicas"]
        total, ready_total = total + count, ready_total + ready
        share = min(ready / count, 1.0) if count else 1.0
        bar = ("█" * int(share * _BAR_CHARACTERS)).ljust(_BAR_CHARACTERS)
        lines.append(f"{role['name']:<12} {ready}/{count}\t\t(total: {count})\t[{bar}] {int(share * 100)}%")
    lines += ["", f"∑ Summary: {len(roles)} roles | {ready_total}/{total} Ready"]
    for condition in status["conditions"]:
        if condition["type"] in ("Ready", "Progressing") and condition["reason"] not in ("Complete", "AllRolesReady"):
            lines.append(f"  {condition['type']}={condition['status']} ({condition['reason']}): {condition['message']}")
    if status.get("observedGeneration") != metadata.get("generation"):
        lines.append("  The operator has not seen the newest change yet.")
    return "\n".join(lines)


def status_json(group: Raw) -> str:
    """The same for programs."""
    metadata = group["metadata"]
    found = {"namespace": metadata["namespace"], "name": metadata["name"], "generation": metadata.get("generation")}
    return json.dumps({**found, **(group.get("status") or {})}, indent=2)


def history_text(revisions: Sequence[Raw]) -> str:
    """A table of revisions, oldest first."""
    rows = [(item["metadata"]["name"], str(item["revision"])) for item in revisions_of(revisions)]
    width = max([len("Name"), *(len(name) for name, _ in rows)])
    return "\n".join(f"{name:<{width}}  {number}" for name, number in [("Name", "Revision"), *rows])


def revision_text(revision: Raw) -> str:
    """The content of one revision as YAML."""
    return yaml.safe_dump(remembered(revision), sort_keys=False, width=120).rstrip("\n")


def find_revision(revisions: Sequence[Raw], number: int | None, spec: Raw | None = None) -> Raw:
    """The revision of that number; None means the one before what `spec` has, which is mostly the newest.

    A spec that no operator could build, or has seen yet, has no revision: then the newest is the one before.

    Raises:
        ConfigError: there is no such revision.
    """
    past = revisions_of(revisions)
    if number is None:
        if past and spec is not None and not _holds(past[-1], spec):
            return past[-1]
        if len(past) < 2:
            raise ConfigError("no enough revision found, current revision is the latest one")
        return past[-2]
    for item in past:
        if int(item["revision"]) == number:
            return item
    known = ", ".join(str(item["revision"]) for item in past) or "none"
    raise ConfigError(f"revision {number} not found; there are: {known}")


def _holds(revision: Raw, spec: Raw) -> bool:
    try:
        return same_content(revision, content(parse_spec(spec)))
    except InvalidGroup:
        return False


def diff_text(spec: GroupSpec, revision: Raw) -> str:
    """What going back to a revision would change, as a unified diff of YAML; empty when nothing."""
    now = yaml.safe_dump(content(spec), sort_keys=False, width=120).splitlines()
    then = yaml.safe_dump(remembered(revision), sort_keys=False, width=120).splitlines()
    return "\n".join(difflib.unified_diff(now, then, "current", f"revision {revision['revision']}", lineterm=""))


def age(born: datetime, now: datetime) -> str:
    """As kubectl says it: the largest unit."""
    seconds = max(int((now - born).total_seconds()), 0)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
