"""Building a vLLM engine: from an `EngineSpec` to a running AsyncLLM and what it says about itself."""

import contextlib
import logging
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tandem.core.cards import EngineFacts
from tandem.engines.ports import EngineSpec
from tandem.engines.registry import missing_library
from tandem.engines.vllm.args import engine_args, parse
from tandem.engines.vllm.events import EVENTS, REPLAY
from tandem.engines.vllm.grammar_guard import GrammarGuard
from tandem.engines.vllm.home import EngineHome
from tandem.engines.vllm.process import (
    built_for_cpu,
    engine_environment,
    engine_pids,
    forked_engines,
    held_ports,
    prepare_environment,
)
from tandem.engines.vllm.stats import EngineStats, stat_logger
from tandem.errors import ConfigError, EngineFailed

logger = logging.getLogger(__name__)

ENGINE = "vllm"


@dataclass(frozen=True, slots=True)
class LoadedEngine:
    """A running engine and its surroundings."""

    llm: Any
    facts: EngineFacts
    pids: list[int]
    home: EngineHome
    has_events: bool
    by_priority: bool
    """Whether the engine was told to heed priorities; it refuses them otherwise."""
    embeds: bool
    """It is a pooling model: no text comes out of it."""
    guard: GrammarGuard | None
    """Looks at grammars before the engine does; None for a backend that the YAML chose and we do not know."""


def load_engine(spec: EngineSpec, stats: EngineStats) -> LoadedEngine:
    """Start the engine's process and wait until it serves. Forks on a CPU, so nothing else may be open yet.

    Raises:
        ConfigError: vLLM refuses a setting, or is not installed.
        EngineFailed: its process did not come up.
    """
    if spec.model_path.startswith(("/", ".")) and not Path(spec.model_path).is_dir():
        raise ConfigError(f"there is no model folder {spec.model_path}", param="model")
    cpu = _runs_on_cpu()
    home = EngineHome()
    try:
        return _load(spec, stats, home, cpu=cpu)
    except BaseException:
        home.remove()
        raise


def _load(spec: EngineSpec, stats: EngineStats, home: EngineHome, *, cpu: bool) -> LoadedEngine:
    from vllm.v1.engine.async_llm import AsyncLLM

    engine_id = uuid.uuid4().hex
    args = engine_args(spec, cpu=cpu, engine_id=engine_id)
    has_events = _add_events(args.values, home, args.notices)
    parsed = parse(args)
    for notice in args.notices:
        logger.warning("engine.setting engine=vllm %s", notice)
    config = _create_config(parsed)
    embeds = config.model_config.runner_type == "pooling"
    if embeds and spec.roles:
        raise ConfigError("an engine that embeds hands no KV over: serve it without remote-prefill", param="runner")
    guard = side_channel = None
    if config.structured_outputs_config.backend == "xgrammar" and not embeds:
        with forked_engines():  # before any port is held: a fork would hold it too
            guard = GrammarGuard.start(fork=cpu)
    with contextlib.ExitStack() as loading:
        if spec.roles:
            port = loading.enter_context(held_ports(config.parallel_config.data_parallel_size))
            side_channel = (spec.side_channel_host, port)
        loading.enter_context(engine_environment(home, cpu=cpu, side_channel=side_channel))
        loading.enter_context(forked_engines())
        try:
            llm = AsyncLLM.from_vllm_config(config, stat_loggers=[stat_logger(stats)], disable_log_stats=True)
        except Exception as error:
            if guard is not None:
                guard.close()
            raise EngineFailed(f"vLLM did not start: {error}") from error
    address = "" if side_channel is None else f"{side_channel[0]}:{side_channel[1]}"
    facts = _facts(spec, config, engine_id=engine_id, side_channel=address, cpu=cpu)
    by_priority = config.scheduler_config.policy == "priority"
    return LoadedEngine(llm, facts, engine_pids(llm), home, has_events, by_priority, embeds, guard)


def _runs_on_cpu() -> bool:
    """Which platform vLLM finds here. Asked of the package first, for the settings of a CPU are read at import."""
    prepare_environment(cpu=built_for_cpu())
    try:
        from vllm.platforms import current_platform
    except ImportError as error:
        raise missing_library(ENGINE, error) from error
    cpu: bool = current_platform.is_cpu()
    return cpu


def _create_config(parsed: Any) -> Any:
    from vllm.usage.usage_lib import UsageContext

    try:
        return parsed.create_engine_config(UsageContext.ENGINE_CONTEXT)
    except (ValueError, TypeError, NotImplementedError, OSError, RuntimeError) as error:
        raise ConfigError(f"vLLM refuses the engine settings: {error}") from error


def _add_events(values: dict[str, Any], home: EngineHome, notices: list[str]) -> bool:
    """Have the engine publish its KV events on private sockets, if it has any to publish."""
    if values.pop("kv_events_config", None) is not None:
        notices.append("kv-events-config is left out: events are read on a private socket and published on the bus")
    if str(values.get("enable_prefix_caching", True)).lower() in ("false", "0", "no"):
        return False
    values["kv_events_config"] = {
        "enable_kv_cache_events": True,
        "publisher": "zmq",
        "endpoint": home.socket(EVENTS),
        "replay_endpoint": home.socket(REPLAY),
    }
    return True


def _facts(spec: EngineSpec, config: Any, *, engine_id: str, side_channel: str, cpu: bool) -> EngineFacts:
    import vllm

    cache, model, parallel, scheduler = (
        config.cache_config,
        config.model_config,
        config.parallel_config,
        config.scheduler_config,
    )
    layers = model.get_total_num_hidden_layers() if hasattr(model, "get_total_num_hidden_layers") else 0
    layers = layers or model.hf_text_config.num_hidden_layers
    heads, head_size = (
        (1, model.get_head_size()) if model.use_mla else (model.get_total_num_kv_heads(), model.get_head_size())
    )
    dtype = str(model.dtype).removeprefix("torch.")
    cache_dtype = dtype if cache.cache_dtype == "auto" else str(cache.cache_dtype)
    per_token = layers * heads * head_size * _itemsize(cache_dtype) * (1 if model.use_mla else 2)
    return EngineFacts(
        engine=ENGINE,
        engine_version=vllm.__version__,
        engine_id=engine_id,
        model_path=spec.model_path,
        max_model_len=model.max_model_len,
        block_size_tokens=cache.block_size,
        kv_blocks_total=cache.num_gpu_blocks or 0,
        block_bytes=per_token * cache.block_size,
        max_num_seqs=scheduler.max_num_seqs,
        max_num_batched_tokens=scheduler.max_num_batched_tokens,
        dtype=dtype,
        device="cpu" if cpu else "cuda",
        tensor_parallel_size=parallel.tensor_parallel_size,
        data_parallel_size=parallel.data_parallel_size,
        side_channel=side_channel,
        adapters=spec.adapters,
        kv_layout=f"nixl-pull/{layers}x{heads}x{head_size}/{cache_dtype}",
    )


def _itemsize(dtype: str) -> int:
    if dtype.startswith(("fp8", "int8", "uint8", "float8")):
        return 1
    return 4 if dtype == "float32" else 2
