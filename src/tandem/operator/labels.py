"""Every string that other programs read: label keys of both families, annotations, environment names, conditions.

Two families exist because upstream renamed them between its v0.6 (`OLD`) and v0.7 (`NEW`). Pods carry both, so that
Services and scripts written for either find them.
"""

from typing import Final

GROUP: Final = "workloads.x-k8s.io"
OLD: Final = "rolebasedgroup.workloads.x-k8s.io/"
NEW: Final = "rbg.workloads.x-k8s.io/"
OURS: Final = "tandem-operator/"

FIELD_MANAGER: Final = "tandem-operator"

# Labels.
NAME: Final = OLD + "name"
ROLE: Final = OLD + "role"
GROUP_KEY: Final = OLD + "group-unique-key"
ROLE_REVISION_HASH: Final = OLD + "role-revision-hash-"
CONTROLLER_REVISION_HASH: Final = OLD + "controller-revision-hash"
NEW_NAME: Final = NEW + "group-name"
NEW_ROLE: Final = NEW + "role-name"
NEW_GROUP_KEY: Final = NEW + "group-uid"
NEW_REVISION: Final = NEW + "group-revision"
SET_NAME: Final = "rolebasedgroupset.workloads.x-k8s.io/name"
SET_INDEX: Final = "rolebasedgroupset.workloads.x-k8s.io/rbg-index"
NEW_SET_NAME: Final = NEW + "groupset-name"
NEW_SET_INDEX: Final = NEW + "groupset-index"
POD_INDEX: Final = "apps.kubernetes.io/pod-index"
KUBE_GANG: Final = "pod-group.scheduling.sigs.k8s.io/name"

# Annotations.
ROLE_SIZE: Final = OLD + "role-size"
EXCLUSIVE_TOPOLOGY: Final = (OLD + "exclusive-topology", NEW + "group-exclusive-topology")
DISABLE_EXCLUSIVE: Final = (OLD + "disable-exclusive-topology", NEW + "role-disable-exclusive")
WORKLOAD_TYPE: Final = NEW + "role-workload-type"
GANG: Final = NEW + "group-gang-scheduling"
GANG_TIMEOUT: Final = NEW + "group-gang-scheduling-timeout"
GANG_VOLCANO_PRIORITY: Final = NEW + "group-gang-scheduling-volcano-priority"
GANG_VOLCANO_QUEUE: Final = NEW + "group-gang-scheduling-volcano-queue"
VOLCANO_GANG: Final = "scheduling.k8s.io/group-name"
VOLCANO_TASK: Final = "volcano.sh/task-spec"
APPLIED_HASH: Final = OURS + "applied-hash"
"""On each child: the hash of what we last applied. A child without it was made by somebody else."""
ADOPTED_FOR: Final = OURS + "adopted-for"
"""On a workload that we took over with its pod template: the hash of the role that the template stands for."""
TEMPLATE_HASH: Final = OURS + "template-hash"
"""On a workload: the hash of its pod template. On a group of a set: the hash of the set's template."""
PORT_ALLOCATOR: Final = OLD + "port-allocator"
"""On a pod template: the ports that it wants, as JSON."""
PORTS: Final = OURS + "ports"
"""On a role's ConfigMap: the numbers that the role has been given."""
READINESS_PROBE: Final = OURS + "readiness-probe"
"""On a pod template: `off` leaves containers without a readiness probe as they are."""

# Discovery.
CONFIG_KEY: Final = "config.yaml"
CONFIG_VOLUME: Final = "rbg-cluster-config"
CONFIG_MOUNT: Final = "/etc/rbg"

# Conditions.
READY: Final = "Ready"
PROGRESSING: Final = "Progressing"
ROLLING: Final = "RollingUpdateInProgress"
RESTARTING: Final = "RestartInProgress"
