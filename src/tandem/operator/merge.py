"""Strategic merge, as the API server does it for pod templates: `templatePatch`, `patchLeaderTemplate` and their kin.

Maps merge key by key and `null` removes. Lists of objects with a known key merge by it, other lists are replaced.
`$patch: delete` removes an element or a map's content, `$patch: replace` replaces instead of merging.
"""

from typing import Any

from tandem.operator.types import Raw

_LIST_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "ports": ("containerPort", "protocol"),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
}
_KEY_DEFAULTS = {"protocol": "TCP"}


def strategic_merge(base: Raw, patch: Raw) -> Raw:
    """`base` with `patch` laid over it; neither is changed."""
    directive = patch.get("$patch")
    rest = {key: value for key, value in patch.items() if key != "$patch"}
    if directive == "replace":
        return dict(_clean(rest))
    if directive == "delete":
        return {}
    merged = dict(base)
    for key, value in rest.items():
        if key.startswith(("$setElementOrder/", "$retainKeys", "$deleteFromPrimitiveList/")):
            continue
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            old = merged.get(key)
            merged[key] = strategic_merge(old if isinstance(old, dict) else {}, value)
        elif isinstance(value, list) and key in _LIST_KEYS and isinstance(merged.get(key), list):
            merged[key] = _merge_lists(merged[key], value, _LIST_KEYS[key])
        else:
            merged[key] = _clean(value)
    return merged


def _merge_lists(base: list[Any], patch: list[Any], keys: tuple[str, ...]) -> list[Any]:
    if any(isinstance(item, dict) and item == {"$patch": "replace"} for item in patch):
        return [_clean(item) for item in patch if item != {"$patch": "replace"}]
    merged = list(base)
    for item in patch:
        if not isinstance(item, dict):
            return list(_clean(patch))
        wanted = _identity(item, keys)
        at = next((i for i, old in enumerate(merged) if isinstance(old, dict) and _identity(old, keys) == wanted), None)
        if item.get("$patch") == "delete":
            if at is not None:
                del merged[at]
        elif at is None:
            merged.append(_clean(item))
        else:
            merged[at] = strategic_merge(merged[at], item)
    return merged


def _identity(item: Raw, keys: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(item.get(key, _KEY_DEFAULTS.get(key)) for key in keys)


def _clean(value: Any) -> Any:
    """A value that is new as a whole: without directives and nulls."""
    if isinstance(value, dict):
        return {k: _clean(v) for k, v in value.items() if v is not None and not k.startswith("$")}
    if isinstance(value, list):
        return [_clean(item) for item in value if not (isinstance(item, dict) and item.get("$patch") == "delete")]
    return value
