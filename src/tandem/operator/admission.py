"""The answer to "may this object be?": pure, for the webhook."""

import msgspec

from tandem.operator.amounts import is_amount
from tandem.operator.faults import Fault, InvalidGroup
from tandem.operator.parse import parse_spec
from tandem.operator.sets import parse_set
from tandem.operator.shapes import fault_of
from tandem.operator.types import Raw
from tandem.operator.validation import faults_of, slips


def group_faults(item: Raw) -> list[Fault]:
    """Every reason to refuse a RoleBasedGroup."""
    try:
        spec = parse_spec(item.get("spec"))
    except InvalidGroup as error:
        return error.faults
    name = str(item["metadata"].get("name") or item["metadata"].get("generateName", "") + "x")
    return [*faults_of(name, spec), *slips(spec)]


def set_faults(item: Raw) -> list[Fault]:
    """Every reason to refuse a RoleBasedGroupSet; its groups are checked under the longest name they will have."""
    try:
        spec = parse_set(item)
    except msgspec.ValidationError as error:
        return [fault_of(error, "spec")]
    template = spec.group_template.spec if spec.group_template else spec.template
    if template is None:
        return [Fault("spec.template", "required: the spec of the groups to make")]
    name = f"{item['metadata'].get('name', '')}-{max(spec.replicas - 1, 0)}"
    path = "spec.groupTemplate" if spec.group_template else "spec.template"
    faults = [*faults_of(name, template), *slips(template)]
    found = [Fault(fault.path.replace("spec", path, 1), fault.message) for fault in faults]
    if spec.rollout_strategy and not is_amount(spec.rollout_strategy.max_unavailable):
        found.append(Fault("spec.rolloutStrategy.maxUnavailable", "write a count or a percentage such as 25%"))
    return found


def refusal(faults: list[Fault]) -> str:
    """One message with every fault on a line of its own."""
    return "\n".join(str(fault) for fault in faults)
