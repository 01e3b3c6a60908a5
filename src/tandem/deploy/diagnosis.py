"""What is wrong, in words, and what would mend it. Pure: from what was seen to sentences, the cause before its effects.

Each rule answers one question about one object. Rules know the words that Kubernetes, CSI drivers and engines use; a
case that nobody knows yet is told in the cluster's own words rather than left out.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tandem.core.paths import at
from tandem.deploy.look import Look, group_ready, is_ready, plane_ready, role_of
from tandem.deploy.objects import Object

INSTALL = (
    "install the operator: helm install tandem-operator deploy/helm/operator, or kubectl apply -f deploy/operator.yaml"
)

_PATIENCE_S = 10.0
"""An operator looks at a new group within a second, and what gives volumes at a claim within a few."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    about: str
    """Which object, as people name it."""
    what: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.about}: {self.what}" + (f" -> {self.mend}" if self.mend else "")


def diagnose(look: Look) -> list[Finding]:
    """Everything that is wrong; empty when all is well, or only not done yet."""
    if not look.namespace_there:
        return [Finding(f"namespace {look.namespace}", "is not there", f"kubectl create namespace {look.namespace}")]
    if not look.group_served:
        return [Finding("RoleBasedGroup", "this cluster does not know the kind: its CRD is not installed", INSTALL)]
    if look.group is None:
        return [Finding(f"RoleBasedGroup {look.name}", "is not there", "tandem deploy apply")]
    found = [*_claims(look), *_datasets(look), *_pods(look), *_planes(look), *_group(look)]
    return list(dict.fromkeys(found))


def _group(look: Look) -> Iterator[Finding]:
    about = f"RoleBasedGroup {look.name}"
    status = at(look.group, "status") or {}
    conditions = status.get("conditions") or []
    if not conditions and (look.group_age_s is None or look.group_age_s > _PATIENCE_S):
        yield Finding(about, "no operator has looked at it: none runs, or it watches another namespace", INSTALL)
    elif status.get("observedGeneration") not in (None, at(look.group, "metadata", "generation")):
        yield Finding(about, "the operator has not looked at the newest change", "is it still running?")
    for each in conditions:
        if each["type"] == "Ready" and each["status"] != "True" and not group_ready(look):
            waiting = each.get("reason") in ("RolesNotReady", "RoleNotReady") or "ready" in str(each.get("message", ""))
            if not waiting:
                yield Finding(about, str(each.get("message") or each.get("reason")))


def _planes(look: Look) -> Iterator[Finding]:
    there = {plane["metadata"]["name"] for plane in look.planes}
    for name in look.expected_planes:
        if name not in there:
            yield Finding(f"StatefulSet {name}", "is not there", "tandem deploy apply")
    for plane in look.planes:
        name, wished = plane["metadata"]["name"], at(plane, "spec", "replicas") or 1
        if not plane_ready(plane) and not at(plane, "status", "replicas"):
            yield Finding(f"{plane['kind']} {name}", f"none of its {wished} pods has been made", _quota(look, name))


def _quota(look: Look, name: str) -> str:
    for event in look.events:
        if at(event, "involvedObject", "name") == name and "quota" in str(event.get("message")):
            return str(event["message"])
    return ""


def _claims(look: Look) -> Iterator[Finding]:
    for name, claim in look.claims.items():
        about = f"PersistentVolumeClaim {name}"
        if claim is None:
            yield Finding(about, "is not there", "make it, or name another in model.storage")
        elif at(claim, "status", "phase") == "Lost":
            yield Finding(
                about, f"its volume {at(claim, 'spec', 'volumeName')} is gone", "delete the claim and apply again"
            )
        elif at(claim, "status", "phase") != "Bound" and (why := _unbound(look, claim)):
            yield Finding(about, *why)


def _unbound(look: Look, claim: Object) -> tuple[str, str] | None:
    told = " ".join(_messages(look, "PersistentVolumeClaim", claim["metadata"]["name"]))
    wanted = at(claim, "spec", "resources", "requests", "storage")
    storage_class = at(claim, "spec", "storageClassName")
    if "waiting for first consumer" in told.lower():
        return None  # its pod says what it waits for
    if "not found" in told and "storageclass" in told.lower():
        return f"unbound: there is no StorageClass {storage_class}", "kubectl get storageclass; name one of them"
    if "no storage class is set" in told or (storage_class is None and "no persistent volumes available" in told):
        return "unbound: no volume fits and the cluster has no default StorageClass", "name a storage-class"
    if "failed to provision" in told.lower():
        return f"unbound: {_last(told)}", ""
    if look.group_age_s is not None and look.group_age_s < _PATIENCE_S and not told:
        return None  # nobody has had the time
    if volume := at(claim, "spec", "volumeName"):
        return (
            f"unbound: its volume {volume} is not there, is too small, or belongs to another claim",
            f"kubectl get pv {volume}",
        )
    return f"unbound: nothing gives it {wanted}{f' ({told})' if told else ''}", "kubectl describe pvc"


def _datasets(look: Look) -> Iterator[Finding]:
    for item in look.datasets:
        phase = at(item, "status", "phase")
        about = f"{item['kind']} {item['metadata']['name']}"
        if not phase:
            yield Finding(about, "Fluid has not looked at it", "is Fluid installed?")
        elif phase in ("Failed", "NotBound"):
            messages = [
                str(each.get("message")) for each in at(item, "status", "conditions") or [] if each.get("message")
            ]
            yield Finding(about, f"is {phase}{f': {messages[-1]}' if messages else ''}")


def _pods(look: Look) -> Iterator[Finding]:
    told: set[tuple[str, str]] = set()
    for pod in look.pods:
        if is_ready(pod) or at(pod, "metadata", "deletionTimestamp") or at(pod, "status", "phase") == "Succeeded":
            continue
        for finding in _pod(look, pod):
            key = (role_of(pod), finding.what)
            if key not in told:  # three pods of a role that wait for the same thing are one thing
                told.add(key)
                yield finding


def _pod(look: Look, pod: Object) -> Iterator[Finding]:
    name = pod["metadata"]["name"]
    about = f"pod {name}"
    for each in at(pod, "status", "conditions") or []:
        if each["type"] == "PodScheduled" and each["status"] == "False":
            yield Finding(about, *_unscheduled(look, pod, str(each.get("message") or "")))
            return
    if at(pod, "status", "reason") == "Evicted":
        yield Finding(about, f"was evicted: {at(pod, 'status', 'message')}")
        return
    for state in [*(at(pod, "status", "initContainerStatuses") or []), *(at(pod, "status", "containerStatuses") or [])]:
        if finding := _container(look, pod, about, state):
            yield finding
            return
    for message in _messages(look, "Pod", name, "FailedMount", "FailedAttachVolume"):
        if why := _mount(message):
            yield Finding(about, *why)
            return


def _unscheduled(look: Look, pod: Object, message: str) -> tuple[str, str]:
    asked = [at(each, "resources", "requests") or {} for each in at(pod, "spec", "containers") or []]
    if "persistentvolumeclaim" in message:
        missing = re.search(r'persistentvolumeclaim "([^"]+)" (not found|is being deleted)', message)
        if missing:
            return f"cannot be placed: its claim {missing[1]} {missing[2]}", ""
        return "cannot be placed: a volume of its own is unbound", "see its PersistentVolumeClaims"
    for resource in re.findall(r"Insufficient ([\w/-]+(?:\.[\w/-]+)*)", message):
        count = next((str(each[resource]) for each in asked if resource in each), "?")
        if "/" in resource:
            return _no_gpu(look, resource, count, message)
        return (
            f"cannot be placed: no node has {count} {resource} free ({message})",
            f"ask for less {resource}, or add nodes",
        )
    if "taint" in message and "didn't match" not in message:
        return f"cannot be placed: the nodes are tainted ({message})", "add tolerations to the role"
    if "node affinity" in message or "node selector" in message or "didn't match" in message:
        return f"cannot be placed: no node has the labels that it asks for ({message})", "change node-selector"
    return f"cannot be placed: {message or 'the scheduler has not said why'}", ""


def _no_gpu(look: Look, resource: str, count: str, message: str) -> tuple[str, str]:
    if look.nodes is not None:
        most = max((int(at(node, "status", "allocatable", resource) or 0) for node in look.nodes), default=0)
        if most == 0:
            return (
                f"no GPU node: it needs {count} {resource}, and no node of the cluster has any",
                "add GPU nodes, or install the device plugin",
            )
        if count.isdigit() and most < int(count):
            return f"no GPU node: it needs {count} {resource} on one node, the largest has {most}", "lower gpus"
        return (
            f"no GPU node: all {resource} are taken; it needs {count} on one node",
            "add GPU nodes, or lower replicas",
        )
    return f"no GPU node: no node has {count} {resource} free ({message})", "add GPU nodes, or lower gpus or replicas"


def _container(look: Look, pod: Object, about: str, state: Object) -> Finding | None:
    waiting = at(state, "state", "waiting") or {}
    reason, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    image = str(state.get("image") or _image(pod, state["name"]))
    if reason in ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"):
        return Finding(
            about, f"its image {image} cannot be pulled: {_pull(look, pod, reason, message)}", _pull_mend(message)
        )
    if reason == "CreateContainerConfigError":
        return Finding(about, f"cannot start: {message}", "make it, then the pod goes on by itself")
    if reason in ("CreateContainerError", "RunContainerError"):
        return Finding(about, f"cannot start: {message}")
    ended = at(state, "state", "terminated") or at(state, "lastState", "terminated")
    restarts = int(state.get("restartCount") or 0)
    said = "\n".join([str(at(ended, "message") or ""), look.logs.get(pod["metadata"]["name"], "")])
    if ended and (ended.get("reason") == "OOMKilled" or ended.get("exitCode") == 137):
        limit = next(
            (at(c, "resources", "limits", "memory") for c in pod["spec"]["containers"] if c["name"] == state["name"]),
            None,
        )
        return Finding(
            about, f"out of memory: it was killed at its limit of {limit}", f"raise roles.{role_of(pod)}.memory"
        )
    if why := _engine(said, pod):
        return Finding(about, *why)
    if ended and (restarts or at(state, "state", "terminated")) and ended.get("exitCode") != 0:
        last = _last(said) or "and wrote nothing"
        times = restarts if at(state, "state", "running") else restarts + 1
        return Finding(about, f"ended {times} times with exit status {ended.get('exitCode')}: {last}")
    return None


def _image(pod: Object, container: str) -> str:
    return next((str(c.get("image")) for c in pod["spec"]["containers"] if c["name"] == container), "?")


def _pull(look: Look, pod: Object, reason: str, message: str) -> str:
    """The registry's own words, which stand in the first event rather than in the back-off."""
    for text in _messages(look, "Pod", pod["metadata"]["name"], "Failed"):
        if "pull" in text.lower():
            return _last(text)
    return message or reason


def _pull_mend(message: str) -> str:
    if re.search(r"unauthorized|denied|authentication|forbidden", message, re.IGNORECASE):
        return "name a Secret in image-pull-secrets"
    return "correct image, or push it there"


_ENGINE: tuple[tuple[str, str, str], ...] = (
    (
        r"there is no model folder (\S+)",
        "model not found: {0} is empty or not mounted",
        "is the path in model.storage right, and is the model uploaded? tandem models push",
    ),
    (
        r"(\S+) does not appear to have a file named config\.json|is no model folder: it has no config\.json",
        "model not found: its folder has no config.json",
        "is the path in model.storage right, and is the model uploaded? tandem models push",
    ),
    (
        r"CUDA out of memory|OutOfMemoryError|less than desired GPU memory utilization",
        "out of GPU memory",
        "lower gpu-memory-utilization or max-model-len, or raise gpus",
    ),
    (
        r"larger than the maximum number of tokens that can be stored in KV cache|To serve at least one request",
        "out of GPU memory: not one request of max-model-len fits beside the weights",
        "lower max-model-len, or raise gpus",
    ),
    (r"([^\n]*of weights[^\n]*cannot fit[^\n]*)", "{0}", "raise gpus, or name a smaller model"),
    (
        r"(?:Authorization Violation|nats: authorization)",
        "NATS refuses the password",
        "the Secret changed after NATS started? restart both",
    ),
    (
        r"no kernel image is available|CUDA driver version is insufficient",
        "the GPU's driver is too old for the image",
        "",
    ),
    (r"Permission denied: '([^']+)'", "may not read {0}", "the model's files must be readable by user 10001"),
    (
        r"Input/output error",
        "its model volume broke: reading gives an input/output error",
        "restart the pod to mount it anew",
    ),
)
"""(words in a log, what they mean, what mends it)."""


def _engine(text: str, pod: Object) -> tuple[str, str] | None:
    for pattern, what, mend in _ENGINE:
        if found := re.search(pattern, text):
            groups = [group.strip() if group else "" for group in found.groups()]
            return what.format(*groups), mend
    return None


def _mount(message: str) -> tuple[str, str] | None:
    if re.search(r"NoSuchBucket|bucket .* (does not exist|not exist)", message, re.IGNORECASE):
        return (
            "its model volume cannot be mounted: there is no such bucket",
            "correct model.storage.bucket and endpoint",
        )
    if re.search(r"InvalidAccessKeyId|AccessDenied|SignatureDoesNotMatch|403", message):
        return (
            "its model volume cannot be mounted: the keys are wrong, or may not read the bucket",
            "correct the Secret",
        )
    if found := re.search(r'(secret|configmap) "([^"]+)" not found', message):
        return f"cannot start: there is no {found[1].title()} {found[2]}", "tandem deploy apply makes it"
    if found := re.search(r"driver name (\S+) not found", message):
        return (
            f"its volume needs the CSI driver {found[1]}, which this cluster has not",
            "install it, or use other storage",
        )
    if "hostPath type check failed" in message:
        return f"the node has no such folder: {_last(message)}", "correct model.storage.path"
    if re.search(r"No such file or directory|access denied by server|Connection (refused|timed out)", message):
        return f"its volume cannot be mounted: {_last(message)}", "correct server and path in model.storage"
    if "timed out waiting for the condition" in message and "FailedMount" not in message:
        return None  # another event says why
    return f"its volume cannot be mounted: {_last(message)}", ""


def _messages(look: Look, kind: str, name: str, *reasons: str) -> list[str]:
    """What events say about an object, the newest first."""
    found = [
        event
        for event in look.events
        if at(event, "involvedObject", "kind") == kind
        and at(event, "involvedObject", "name") == name
        and (not reasons or event.get("reason") in reasons)
    ]
    found.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""), reverse=True)
    return [str(event.get("message") or "") for event in found]


def _last(text: str) -> str:
    """The last line that says something, not too long."""
    lines: Sequence[str] = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    return last if len(last) <= 300 else f"{last[:297]}..."
