"""What an instance says about itself when it registers, and how two of them are judged to fit.

A card is written once its engine is loaded: block size, cache size and limits are the engine's own
report, never a setting. Cards are checked before two workers are paired.
"""

from typing import Literal

import msgspec

Role = Literal["prefill", "decode"]


class EngineFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An engine's own report after loading."""

    engine: str
    """vllm, simulated, …"""
    engine_version: str
    engine_id: str
    """New at every start: KV hand-offs name it, so that a restarted engine is never mistaken for the old one."""
    model_path: str
    max_model_len: int
    """Tokens, prompt and output together."""
    block_size_tokens: int
    kv_blocks_total: int
    block_bytes: int
    """Bytes of one KV block over all layers and ranks; 0 if the engine cannot say."""
    max_num_seqs: int
    max_num_batched_tokens: int
    dtype: str = ""
    device: str = "cpu"
    tensor_parallel_size: int = 1
    data_parallel_size: int = 1
    side_channel: str = ""
    """host:port where peers fetch this engine's transfer metadata; empty if it cannot hand off KV."""
    adapters: dict[str, str] = {}
    """LoRA adapters by the name that requests give, with their folders: both are part of what a block is."""
    kv_layout: str = ""
    """What must be equal for KV to be readable by the peer, as the adapter spells it (opaque)."""


class ModelCard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model as clients see it."""

    served_model_name: str
    model_path: str
    """Folder with config.json, tokenizer and chat template; what the processor loads its tokenizer from."""
    max_model_len: int


class InstanceCard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One live registration: who it is, where to call it, what it can do."""

    instance_id: str
    namespace: str
    component: str
    endpoints: list[str]
    address: str
    """host:port (or unix:/path) of its request plane."""
    host: str = ""
    pid: int = 0
    started_at: float = 0.0
    """Unix time in seconds."""
    protocol: int = 2
    """Version of the messages it speaks; another version is not paired."""
    roles: list[Role] = []
    engine: EngineFacts | None = None
    model: ModelCard | None = None
    system_address: str = ""
    """host:port of the system port (/live, /ready, /metrics) of the process group it belongs to."""
    extra: dict[str, str] = {}


def why_not_paired(prefill: EngineFacts, decode: EngineFacts) -> str | None:
    """The reason why KV of `prefill` must not be read by `decode`, or None when they fit.

    A pair that differs would not fail cleanly: vLLM on a CPU reads blocks of another size as garbage
    and answers with wrong tokens.
    """
    for field in (
        "engine",
        "engine_version",
        "model_path",
        "block_size_tokens",
        "dtype",
        "device",
        "adapters",
        "kv_layout",
    ):
        ours, theirs = getattr(decode, field), getattr(prefill, field)
        if ours != theirs:
            return f"{field} differs: prefill has {theirs!r}, decode has {ours!r}"
    if not prefill.side_channel:
        return "the prefill engine was started without a KV connector"
    return None
