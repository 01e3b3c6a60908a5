"""The token by which pods of a group join the planes that one of them hosts: who gets one, and from where.

It stands in a Secret that the operator makes once and never reads, and pods take it from their environment. A pod
without could not join those with, so it is a matter of the whole group, decided when its first workload is made:
groups that ran before there were tokens go on without.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from tandem.core.paths import at
from tandem.operator.naming import hub_token_name
from tandem.operator.pods import serves
from tandem.operator.types import Group, Raw

ENV: Final = "TANDEM_GROUP_TOKEN"
KEY: Final = "token"


def token_secret(group: Group, templates: Sequence[Raw], workloads: Iterable[Raw]) -> str | None:
    """Name of the Secret that the group's pods are given; None for a group that gets no token.

    Args:
        templates: what the group's pods are made from, as their author wrote it.
        workloads: the group's, as found.
    """
    containers = [each for template in templates for each in at(template, "spec", "containers", default=[])]
    if not any(map(serves, containers)) or any(_variable(each) for each in containers):
        return None  # nobody joins a hub, or the author gives out a token of their own
    sources = [_source(template) for found in workloads for template in _pod_templates(found)]
    kept = [name for name in sources if name is not None]
    return min(kept, default=hub_token_name(group.name, group.uid)) if len(kept) == len(sources) else None


def token_env(secret: str) -> Raw:
    """The variable, as a container has it."""
    return {"name": ENV, "valueFrom": {"secretKeyRef": {"name": secret, "key": KEY}}}


def token_object(metadata: Raw, token: str) -> Raw:
    """The Secret."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "stringData": {KEY: token}}


def misses_secret(pods: Iterable[Raw]) -> bool:
    """Whether a pod waits for something that its container's configuration names."""
    states = (at(each, "state", "waiting", "reason") for pod in pods for each in _statuses(pod))
    return "CreateContainerConfigError" in states


def _statuses(pod: Raw) -> list[Raw]:
    found: list[Raw] = at(pod, "status", "containerStatuses", default=[])
    return found


def _variable(container: Raw) -> Raw | None:
    return next((each for each in container.get("env") or [] if each.get("name") == ENV), None)


def _source(template: Raw) -> str | None:
    """The Secret that the pods of a workload take their token from."""
    variables = map(_variable, at(template, "spec", "containers", default=[]))
    return next((at(each, "valueFrom", "secretKeyRef", "name") for each in variables if each), None)


def _pod_templates(workload: Raw) -> Iterator[Raw]:
    spec = workload.get("spec") or {}
    for template in (spec.get("template"), at(spec, "leaderWorkerTemplate", "leaderTemplate")):
        if template is not None:
            yield template
