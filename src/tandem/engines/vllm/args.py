"""From the YAML's engine keys to vLLM's own arguments: aliases, what a CPU changes, and the KV connector.

`engine_args` is pure and imports nothing heavy; `parse` hands the result to vLLM's own parser, so every
key of the installed vLLM works and its own words reject a bad value.
"""

import difflib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from tandem.engines.model_files import read_config, read_model_files
from tandem.engines.ports import EngineSpec
from tandem.engines.vllm.aliases import ALIASES, CONNECTOR_ALIASES, IGNORED_ON_CPU, ONE_ON_CPU
from tandem.engines.vllm.keys import VLLM_KEYS
from tandem.engines.vllm.rope import completed
from tandem.errors import ConfigError

WORKER_EXTENSION = "tandem.engines.vllm.worker_extension.HandoffRelease"
_DEFAULT_CONTEXTS = 4
"""Full contexts that a CPU engine's cache holds by default: enough to batch, and three engines fit a laptop."""
_LEAST_KV_BYTES = 64 << 20


@dataclass(slots=True)
class EngineArgs:
    """Arguments for vLLM's parser, and what was changed on the way."""

    values: dict[str, Any]
    notices: list[str] = field(default_factory=list)


def known_engine_keys() -> frozenset[str]:
    """Every key that may stand in a YAML for this engine, with underscores. Cheap: does not import vLLM."""
    return VLLM_KEYS | frozenset(ALIASES)


def check_engine_keys(keys: Iterable[str]) -> None:
    """Raise ConfigError on keys that the engine does not know, naming the nearest known one for each."""
    faults = []
    for key in sorted(set(keys) - known_engine_keys()):
        near = difflib.get_close_matches(key, known_engine_keys(), 1)
        faults.append(_dashed(key) + (f" (did you mean {_dashed(near[0])}?)" if near else ""))
    if faults:
        raise ConfigError(f"vLLM knows no engine key {', '.join(faults)}", param=faults[0].split(" ")[0])


def engine_args(spec: EngineSpec, *, cpu: bool, engine_id: str) -> EngineArgs:
    """What the engine is built from.

    Raises:
        ConfigError: an unknown key, or a KV connector configuration that does not parse.
    """
    check_engine_keys(spec.engine_args)
    args = EngineArgs({})
    given = {key: value for key, value in spec.engine_args.items() if value is not None}
    for key in sorted(given, key=lambda key: key in ALIASES):  # an alias may add to what a key of today says
        _take(args, key, given[key])
    args.values.update(model=spec.model_path, served_model_name=spec.served_model_name)
    args.values.setdefault("seed", spec.seed)
    args.values.setdefault("use_tqdm_on_load", False)
    if spec.adapters:
        args.values["enable_lora"] = True
    if "hf_overrides" in args.values:
        args.values["hf_overrides"] = completed(_hf_overrides(args), read_config(spec.model_path))
    _choose_schedulers_and_grammars(args)
    _let_thoughts_be_limited(args, spec.model_path)
    if cpu:
        _fit_cpu(args, spec.model_path)
    _add_kv_connector(args, spec, engine_id)
    return args


def parse(args: EngineArgs) -> Any:
    """Run vLLM's parser. Returns its AsyncEngineArgs.

    Raises:
        ConfigError: in vLLM's own words.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs

    try:
        from vllm.utils.argparse_utils import FlexibleArgumentParser
    except ImportError:
        from vllm.utils import FlexibleArgumentParser

    class Parser(FlexibleArgumentParser):  # type: ignore[misc]
        """The engine's parser, which raises instead of leaving the process."""

        def error(self, message: str) -> None:
            raise ConfigError(f"vLLM refuses the engine settings: {message}")

    parser = AsyncEngineArgs.add_cli_args(Parser(prog="engine"))
    actions = {action.dest: action for action in parser._actions}
    argv: list[str] = []
    for key, value in args.values.items():
        if key not in actions:
            args.notices.append(f"{_dashed(key)} is left out: the installed vLLM does not know it")
        else:
            argv += _as_argv(key, value, takes_value=actions[key].nargs != 0)
    return AsyncEngineArgs.from_cli_args(parser.parse_args(argv))


def _take(args: EngineArgs, key: str, value: Any) -> None:
    alias = ALIASES.get(key)
    if alias is None or key in VLLM_KEYS:
        args.values[key] = value
        return
    if key == "disable_log_requests" and not value:
        args.values["enable_log_requests"] = True
        return
    args.notices.append(f"{_dashed(key)} {f'is now {_dashed(alias.now)}' if alias.now else 'is left out'}: {alias.why}")
    if alias.now == "hf_overrides":
        args.values["hf_overrides"] = {**_hf_overrides(args), key: _json_value(key, value)}
    elif alias.now is not None:
        args.values[alias.now] = value


def _choose_schedulers_and_grammars(args: EngineArgs) -> None:
    """Where the engine's default would depend on chance or forget what a request says."""
    args.values.setdefault("scheduling_policy", "priority")  # equal priorities are served as they come
    # By "auto" the first request decides for all, and what that backend cannot enforce it ignores in later ones.
    grammars = _json_value("structured-outputs-config", args.values.get("structured_outputs_config", {}))
    if not isinstance(grammars, dict):
        raise ConfigError("structured-outputs-config is a JSON object", param="structured-outputs-config")
    args.values["structured_outputs_config"] = {"backend": "xgrammar", **grammars}


def _let_thoughts_be_limited(args: EngineArgs, model_path: str) -> None:
    """Tell the engine what thoughts stand between: it then keeps a request's budget for them, and does nothing else."""
    tags = read_model_files(model_path).thought_tags
    if tags is not None and not {"reasoning_config", "reasoning_parser"} & args.values.keys():
        args.values["reasoning_config"] = {"reasoning_start_str": tags[0], "reasoning_end_str": tags[1]}


def _fit_cpu(args: EngineArgs, model_path: str) -> None:
    for key, why in IGNORED_ON_CPU.items():
        if key in args.values:
            args.notices.append(f"{_dashed(key)} {args.values.pop(key)} is left out: {why}")
    for key, why in ONE_ON_CPU.items():
        if int(args.values.get(key, 1)) != 1:
            args.notices.append(f"{_dashed(key)} {args.values[key]} is 1 here: {why}")
            args.values[key] = 1
    args.values["enforce_eager"] = True
    if "kv_cache_memory_bytes" not in args.values:
        args.values["kv_cache_memory_bytes"] = default_kv_bytes(model_path, args.values.get("max_model_len"))


def default_kv_bytes(model_path: str, max_model_len: Any) -> int:
    """Cache size of a CPU engine that names none."""
    files = read_model_files(model_path)
    limit = int(max_model_len) if str(max_model_len).isdigit() else files.max_position_embeddings
    return max(_LEAST_KV_BYTES, _DEFAULT_CONTEXTS * limit * files.kv_bytes_per_token)


def _add_kv_connector(args: EngineArgs, spec: EngineSpec, engine_id: str) -> None:
    """Put the NIXL connector in, alone or beside the one that the YAML names; an aggregated engine does without."""
    given = _json_value("kv-transfer-config", args.values.pop("kv_transfer_config", {}))
    if not isinstance(given, dict):
        raise ConfigError("kv-transfer-config is a JSON object", param="kv-transfer-config")
    name = given.get("kv_connector")
    if name in CONNECTOR_ALIASES:
        if name != "NixlPullConnector":
            args.notices.append(f"kv_connector {name} is now {CONNECTOR_ALIASES[name]}")
        given = {**given, "kv_connector": CONNECTOR_ALIASES[name]}
    if not spec.roles:
        if given.get("kv_connector") == "NixlConnector":
            args.notices.append("kv-transfer-config is left out: this engine hands nothing over")
        elif given:
            args.values["kv_transfer_config"] = {"engine_id": engine_id, "kv_role": "kv_both", **given}
        return
    common = {"engine_id": engine_id, "kv_role": _kv_role(spec.roles)}
    extra = {"kv_lease_duration": max(1, round(spec.handoff_lease_s)), **given.get("kv_connector_extra_config", {})}
    if given.get("kv_connector", "NixlConnector") == "NixlConnector":
        config = {**common, "kv_load_failure_policy": "fail", **given, "kv_connector": "NixlConnector"}
        config["kv_connector_extra_config"] = extra
    elif given["kv_connector"] == "MultiConnector":
        config = {**common, "kv_load_failure_policy": "fail", **given}
    else:
        nixl = {"kv_connector": "NixlConnector", "kv_role": common["kv_role"], "kv_connector_extra_config": extra}
        other = {"kv_role": "kv_both", **given}
        config = {**common, "kv_load_failure_policy": "fail", "kv_connector": "MultiConnector"}
        config["kv_connector_extra_config"] = {"connectors": [nixl, other]}
        args.notices.append(f"NixlConnector is put beside {given['kv_connector']}: this engine hands KV over")
    args.values["kv_transfer_config"] = config
    args.values.setdefault("worker_extension_cls", WORKER_EXTENSION)


def _kv_role(roles: Collection[str]) -> str:
    """vLLM's word. An engine that may change sides while it runs is both."""
    if set(roles) == {"prefill"}:
        return "kv_producer"
    return "kv_consumer" if set(roles) == {"decode"} else "kv_both"


def _hf_overrides(args: EngineArgs) -> dict[str, Any]:
    overrides = _json_value("hf-overrides", args.values.get("hf_overrides", {}))
    if not isinstance(overrides, dict):
        raise ConfigError("hf-overrides is a JSON object", param="hf-overrides")
    return overrides


def _json_value(key: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ConfigError(f"{_dashed(key)} is not JSON: {error}", param=_dashed(key)) from error


def _as_argv(key: str, value: Any, *, takes_value: bool) -> list[str]:
    flag = "--" + _dashed(key)
    if not takes_value:
        wanted = str(value).lower() in ("true", "1", "yes", "on", "")
        return [flag] if wanted else [] if key.startswith("disable_log") else ["--no-" + _dashed(key)]
    if isinstance(value, list | tuple):
        return [flag, *(str(item) for item in value)]
    if isinstance(value, dict):
        return [flag, json.dumps(value)]
    return [flag, str(value)]


def _dashed(key: str) -> str:
    return key.replace("_", "-")
