"""The simulated engine's own keys. `engine: simulated` also swallows vLLM's keys, so a YAML can switch engines."""

import difflib
import logging
from dataclasses import dataclass, fields
from typing import Any

from tandem.engines.model_files import read_model_files
from tandem.engines.simulated.model import StepCost
from tandem.errors import ConfigError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedArgs:
    """Size and speed of a simulated engine. The defaults are a Qwen3-32B on one H200 (DESIGN.md, measurements)."""

    block_size: int = 16
    """Tokens per KV block."""
    num_kv_blocks: int = 8192
    """Blocks in the cache."""
    max_model_len: int | None = None
    """Tokens, prompt and output together. None: what the model folder says, at most the cache."""
    max_num_seqs: int = 256
    """Sequences in a batch."""
    max_num_batched_tokens: int = 2048
    """Token budget of one step; longer prompts are computed in pieces of it."""
    max_num_queued_reqs: int | None = None
    """Waiting requests before new ones are refused as `Overloaded`. None: no limit."""
    enable_prefix_caching: bool = True
    """Whether computed blocks can be hit by later prompts."""
    prefill_tokens_per_s: float = 9000.0
    decode_step_s: float = 0.019
    """A decode step's fixed part, in seconds."""
    decode_seq_s: float = 0.00002
    """What each sequence adds to a decode step, in seconds."""
    transfer_gb_per_s: float = 40.0
    """KV transfer, in 10^9 bytes per second."""
    transfer_latency_s: float = 0.002
    kv_bytes_per_token: int | None = None
    """None: from the model folder's config.json, at two bytes per value."""
    load_s: float = 0.0
    """Seconds until the engine is up."""
    speedup: float = 1.0
    """Divides every modelled time; leases and deadlines stay as they are."""
    eos_rate: float = 0.0
    """Share of positions where the model ends by itself. 0: only `max_tokens` ends an answer."""
    side_channel: str = "tcp"
    """tcp, or memory: only for peers in the same process, without sockets."""

    def check(self) -> None:
        """Raise ConfigError on values that cannot work."""
        positive = (
            "block_size",
            "num_kv_blocks",
            "max_num_seqs",
            "max_num_batched_tokens",
            "prefill_tokens_per_s",
            "transfer_gb_per_s",
            "speedup",
        )
        for key in positive:
            if getattr(self, key) <= 0:
                raise ConfigError(f"{key} must be more than 0, not {getattr(self, key)}", param=key)
        if self.side_channel not in ("tcp", "memory"):
            raise ConfigError(f"side_channel is tcp or memory, not {self.side_channel!r}", param="side_channel")
        if self.max_model_len is not None and self.max_model_len > self.num_kv_blocks * self.block_size:
            raise ConfigError(
                f"max_model_len {self.max_model_len} needs more than "
                f"{self.num_kv_blocks} blocks of {self.block_size} tokens",
                param="max_model_len",
            )

    def model_len(self, model_path: str) -> int:
        """Tokens that one sequence may have."""
        return self.max_model_len or min(
            read_model_files(model_path).max_position_embeddings, self.num_kv_blocks * self.block_size
        )

    def block_bytes(self, model_path: str) -> int:
        per_token = self.kv_bytes_per_token or read_model_files(model_path).kv_bytes_per_token
        return per_token * self.block_size

    def step_cost(self) -> StepCost:
        return StepCost(
            decode_step_s=self.decode_step_s,
            decode_seq_s=self.decode_seq_s,
            prefill_tokens_per_s=self.prefill_tokens_per_s,
            speedup=self.speedup,
        )

    def transfer_s(self, kv_bytes: int) -> float:
        return (self.transfer_latency_s + kv_bytes / (self.transfer_gb_per_s * 1e9)) / self.speedup


def simulated_args(engine_args: dict[str, Any], *, ignored: frozenset[str]) -> SimulatedArgs:
    """Read the engine keys.

    Args:
        engine_args: keys with underscores, values as the YAML or a command line gave them.
        ignored: keys of real engines, which mean nothing here.
    Raises:
        ConfigError: unknown key or a value of the wrong type.
    """
    known = {field.name: getattr(field.type, "__name__", str(field.type)) for field in fields(SimulatedArgs)}
    values: dict[str, Any] = {}
    dropped = []
    for key, value in engine_args.items():
        if key not in known:
            if key not in ignored:
                near = difflib.get_close_matches(key, [*known, *ignored], 1)
                hint = f"; did you mean {near[0].replace('_', '-')}?" if near else ""
                raise ConfigError(f"the simulated engine knows no key {key.replace('_', '-')}{hint}", param=key)
            dropped.append(key)
        elif value is not None:
            values[key] = _convert(key, value, known[key])
    if dropped:
        logger.info("engine.keys_without_effect engine=simulated keys=%s", ",".join(sorted(dropped)))
    args = SimulatedArgs(**values)
    args.check()
    return args


def _convert(key: str, value: Any, type_: str) -> Any:
    try:
        if type_.startswith("int"):
            return int(value)
        if type_ == "float":
            return float(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key.replace('_', '-')} is a number, not {value!r}", param=key) from error
    if type_ == "bool":
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        found = words.get(str(value).lower())
        if found is None:
            raise ConfigError(f"{key.replace('_', '-')} is true or false, not {value!r}", param=key)
        return found
    return str(value)
