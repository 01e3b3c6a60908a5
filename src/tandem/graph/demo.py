"""The graph of `tandem demo`: one decode worker, two prefill workers, all from one command."""

from pathlib import Path

from tandem.graph.services import Frontend, PrefillWorker, Processor, VllmWorker

Frontend.link(Processor).link(VllmWorker).link(PrefillWorker)

CONFIG = """
Common:
  model: {model}
  kv-transfer-config: '{{"kv_connector": "NixlConnector"}}'
  block-size: 32
  max-model-len: 4096

Frontend:
  port: {port}
  host: {host}

Processor:
  common-configs: [model]

VllmWorker:
  common-configs: [model, kv-transfer-config, block-size, max-model-len]
  engine: {engine}
  remote-prefill: true
  conditional-disagg: false # every prompt is prefilled by a prefill worker

PrefillWorker:
  common-configs: [model, kv-transfer-config, block-size, max-model-len]
  engine: {engine}
  ServiceArgs:
    workers: 2
"""


def demo_model() -> Path | None:
    """The model of the repository, if this is a checkout or an image made of one."""
    for root in (*Path(__file__).resolve().parents[2:5], Path.cwd(), Path("/workspace")):
        if (root / "models" / "tiny-qwen3" / "config.json").is_file():
            return root / "models" / "tiny-qwen3"
    return None
