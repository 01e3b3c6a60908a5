"""RoPE settings as guides write them, in the form that today's model configurations read. Pure.

Transformers 5 keeps scaling and base in one dict, `rope_parameters`, and an override replaces it whole:
`rope_scaling` by itself would lose the base, `rope_theta` by itself would change nothing. And vLLM no longer
multiplies a YaRN model's limit by the factor, so the new limit has to be named.
"""

from collections.abc import Mapping
from typing import Any

_OURS = ("rope_scaling", "rope_theta", "rope_parameters")


def completed(overrides: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """`hf_overrides` in which whatever concerns RoPE stands in one whole `rope_parameters`.

    Args:
        config: the model's own config.json. Without one, or where its layers or parts differ in RoPE, nothing is
            changed: what is missing could not be filled in.
    """
    scaled = {**(config.get("rope_scaling") or {}), "rope_theta": config.get("rope_theta")}
    own = config.get("rope_parameters") or scaled
    if not any(key in overrides for key in _OURS) or not own.get("rope_theta"):
        return dict(overrides)
    scaling = overrides.get("rope_parameters") or overrides.get("rope_scaling")
    whole = {"rope_theta": own["rope_theta"], **scaling} if scaling else {"rope_type": "default", **own}
    if overrides.get("rope_theta"):
        whole["rope_theta"] = overrides["rope_theta"]
    if "type" in whole:
        whole.setdefault("rope_type", whole.pop("type"))
    found = {key: value for key, value in overrides.items() if key not in _OURS} | {"rope_parameters": whole}
    if whole.get("rope_type") == "yarn" and "factor" in whole and "max_position_embeddings" in config:
        before = whole.setdefault("original_max_position_embeddings", config["max_position_embeddings"])
        found.setdefault("max_position_embeddings", int(before * whole["factor"]))
    return found
