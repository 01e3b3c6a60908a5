"""CRDs of kinds that others bring, as far as the operator writes them: LeaderWorkerSet and both PodGroups."""

from tandem.operator.types import Raw

_ANY: Raw = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_INT: Raw = {"type": "integer", "format": "int32"}
_COUNT: Raw = {"x-kubernetes-int-or-string": True}


def crd(group: str, version: str, kind: str, spec: Raw, *, status: bool = True) -> Raw:
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "properties": {"spec": spec, "status": _ANY}}
    served: Raw = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    if status:
        served["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            # Groups of *.k8s.io are protected: test fixtures say that they know.
            "annotations": {"api-approved.kubernetes.io": "unapproved, test fixture"},
        },
        "spec": {
            "group": group,
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
            "scope": "Namespaced",
            "versions": [served],
        },
    }


LWS = crd(
    "leaderworkerset.x-k8s.io",
    "v1",
    "LeaderWorkerSet",
    {
        "type": "object",
        "required": ["leaderWorkerTemplate"],
        "properties": {
            "replicas": {**_INT, "default": 1},
            "leaderWorkerTemplate": {
                "type": "object",
                "required": ["workerTemplate"],
                "properties": {
                    "leaderTemplate": _ANY,
                    "workerTemplate": _ANY,
                    "size": {**_INT, "default": 1},
                    "restartPolicy": {
                        "type": "string",
                        "enum": ["Default", "RecreateGroupOnPodRestart", "None"],
                        "default": "RecreateGroupOnPodRestart",
                    },
                },
            },
            "rolloutStrategy": {
                "type": "object",
                "properties": {
                    "type": {"type": "string", "enum": ["RollingUpdate"], "default": "RollingUpdate"},
                    "rollingUpdateConfiguration": {
                        "type": "object",
                        "properties": {"partition": _INT, "maxUnavailable": _COUNT, "maxSurge": _COUNT},
                    },
                },
            },
            "startupPolicy": {"type": "string", "default": "LeaderCreated"},
        },
    },
)
KUBE_POD_GROUP = crd(
    "scheduling.x-k8s.io",
    "v1alpha1",
    "PodGroup",
    {"type": "object", "properties": {"minMember": _INT, "scheduleTimeoutSeconds": _INT, "minResources": _ANY}},
)
VOLCANO_POD_GROUP = crd(
    "scheduling.volcano.sh",
    "v1beta1",
    "PodGroup",
    {
        "type": "object",
        "properties": {
            "minMember": _INT,
            "minTaskMember": {"type": "object", "additionalProperties": _INT},
            "queue": {"type": "string"},
            "priorityClassName": {"type": "string"},
        },
    },
)
FOREIGN_CRDS = [LWS, KUBE_POD_GROUP, VOLCANO_POD_GROUP]
