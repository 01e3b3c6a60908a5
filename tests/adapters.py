"""A LoRA adapter for the demo model, as PEFT writes one: small, and loud enough to change what is said."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

RANK = 4


def make_adapter(folder: Path, model: Path, *, seed: int) -> Path:
    """Write an adapter of `model`'s attention to `folder`."""
    config = json.loads((model / "config.json").read_text())
    hidden, head = config["hidden_size"], config["head_dim"]
    widths = {"q_proj": config["num_attention_heads"] * head, "v_proj": config["num_key_value_heads"] * head}
    rng, weights = np.random.default_rng(seed), {}
    for layer in range(config["num_hidden_layers"]):
        for name, width in widths.items():
            prefix = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            weights[f"{prefix}.lora_A.weight"] = rng.normal(0, 0.3, (RANK, hidden)).astype(np.float32)
            weights[f"{prefix}.lora_B.weight"] = rng.normal(0, 0.3, (width, RANK)).astype(np.float32)
    folder.mkdir(parents=True)
    save_file(weights, folder / "adapter_model.safetensors")
    about = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 8, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps({**about, "target_modules": sorted(widths)}))
    return folder
