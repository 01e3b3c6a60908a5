"""Model folders made for tests, and the command line that works on them."""

import json
import os
import random
import struct
import subprocess
import sys
from pathlib import Path

from tandem.cli import main


def model_files(megabytes: float = 1.0, *, shards: int = 2, seed: int = 0) -> dict[str, bytes]:
    """A small model with true headers and random weights."""
    source = random.Random(seed)
    files = {
        "config.json": json.dumps(
            {
                "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 64,
                "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
                "intermediate_size": 128, "vocab_size": 512, "max_position_embeddings": 4096, "dtype": "bfloat16",
            }
        ).encode(),
        "tokenizer/merges.txt": b"a b\n",
    }  # fmt: skip
    names = [f"model-{n + 1:05}-of-{shards:05}.safetensors" for n in range(shards)]
    weight_map = {}
    for n, name in enumerate(names):
        count = int(megabytes * 1e6 / shards) // 2 * 2
        header = json.dumps({f"w{n}": {"dtype": "BF16", "shape": [count // 2], "data_offsets": [0, count]}}).encode()
        files[name] = struct.pack("<Q", len(header)) + header + source.randbytes(count)
        weight_map[f"w{n}"] = name
    files["model.safetensors.index.json"] = json.dumps({"metadata": {}, "weight_map": weight_map}).encode()
    return files


HUB_FILES = model_files(3.0)
"""What the hub of the fixture has."""


def written(files: dict[str, bytes], folder: Path) -> Path:
    """The files on disk."""
    for name, body in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
    return folder


def holds(folder: Path, files: dict[str, bytes]) -> bool:
    """The folder has these files and nothing but a manifest beside them."""
    there = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return there.pop(".tandem-model.json", None) is not None and there == files


def tandem_models(*words: object) -> int:
    """`tandem models …` in this process."""
    return main.main(["models", *map(str, words)])


def started(*words: object, **environ: str) -> subprocess.Popen[bytes]:
    """`tandem models …` in a process of its own, which heeds Ctrl-C as under a terminal.

    A shell has its background jobs ignore SIGINT, and all that they start: so would the tests of such a job.
    """
    return subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "tandem.cli.main", "models", *map(str, words)],
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
