"""One prefill and one decode worker, each on a GPU of its own, KV moved between them by NIXL.

The same prompts go through the pair and through one aggregated worker: the same tokens, remotely, with the
blocks' bytes counted by the engine itself, over NVLink as UCX reports it.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models" / "tiny-qwen3"
PROMPTS = 40

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(560)]


@dataclass(frozen=True, slots=True)
class Service:
    """A running `tandem serve`."""

    port: int
    system_port: int
    log: Path

    def post(self, path: str, body: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """The answer and its request id."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer), answer.headers["x-request-id"]

    def system(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.system_port}{path}", timeout=10) as answer:
            return json.load(answer)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(folder: Path, name: str, graph: str, yaml: str) -> Iterator[Service]:
    """Start a graph and wait until all of it is ready."""
    (folder / f"{name}_graph.py").write_text(graph)
    service = Service(free_port(), free_port(), folder / f"{name}.log")
    (folder / f"{name}.yaml").write_text(yaml.format(port=service.port, model=MODEL))
    command = [sys.executable, "-m", "tandem.cli.main", "serve", f"{name}_graph:Frontend", "-f", f"{name}.yaml"]
    env = {
        **os.environ,
        "XDG_RUNTIME_DIR": str(folder),
        "TANDEM_SYSTEM_PORT": str(service.system_port),
        "UCX_PROTO_INFO": "y",
    }
    with service.log.open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 240
        # The front door alone opens sooner: as soon as there is a decode worker.
        while "\ncurl http" not in service.log.read_text(errors="replace"):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{name} is not ready:\n" + service.log.read_text(errors="replace")[-6000:])
            time.sleep(0.2)
        yield service
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


WORKER = """
  engine: vllm
  block-size: 64
  max-model-len: 4096
  gpu-memory-utilization: 0.2
  enforce-eager: true
  tensor-parallel-size: 1
  ServiceArgs: {{workers: 1, resources: {{gpu: 1}}}}
"""
HEAD = "Common:\n  model: {model}\nFrontend:\n  served_model_name: demo\n  port: {port}\n"
PROCESSOR = "Processor:\n  common-configs: [model]\n"
APART = (
    f"{HEAD}{PROCESSOR}VllmWorker:\n  common-configs: [model]\n  remote-prefill: true\n"
    f"  conditional-disagg: false{WORKER}"
    f"PrefillWorker:\n  common-configs: [model]{WORKER}"
)
TOGETHER = f"{HEAD}{PROCESSOR}VllmWorker:\n  common-configs: [model]{WORKER}"
IMPORT = "from tandem.graph.services import Frontend, PrefillWorker, Processor, VllmWorker\n"


def test_the_same_tokens_come_from_one_gpu_and_from_two(tmp_path: Path, two_gpus: None) -> None:
    rng = random.Random(3)
    prompts = [[rng.randrange(300, 4000) for _ in range(length)] for length in (1, 63, 64, 65, 128, 1000, 3000)]
    prompts += [[rng.randrange(300, 4000) for _ in range(rng.randrange(2, 3500))] for _ in range(PROMPTS)]
    question = {"model": "demo", "max_tokens": 32, "temperature": 0, "ignore_eos": True, "logprobs": 1}
    chat = {"model": "demo", "messages": [{"role": "user", "content": "Let's test it"}], "temperature": 0}

    with served(tmp_path, "together", IMPORT + "Frontend.link(Processor).link(VllmWorker)\n", TOGETHER) as one:
        expected = [one.post("/v1/completions", {**question, "prompt": prompt})[0] for prompt in prompts]
        said, _ = one.post("/v1/chat/completions", {**chat, "max_tokens": 64})

    graph = IMPORT + "Frontend.link(Processor).link(VllmWorker).link(PrefillWorker)\n"
    with served(tmp_path, "apart", graph, APART) as two:
        noise, moved, seconds, differing = 0.0, 0, 0.0, 0
        for prompt, wanted in zip(prompts, expected, strict=True):
            got, request_id = two.post("/v1/completions", {**question, "prompt": prompt})
            stages = {stage["name"]: stage for stage in two.system(f"/trace/{request_id}")["stages"]}
            assert stages["prefill_decision"]["detail"] == {"site": "remote", "reason": "always"}
            assert "recovered" not in stages
            moved += stages["kv_pull"]["detail"]["kv_bytes"]
            seconds += stages["kv_pull"]["duration_s"]
            ours, theirs = got["choices"][0]["logprobs"], wanted["choices"][0]["logprobs"]
            same = ours["tokens"] == theirs["tokens"]
            differing += not same
            if same:
                pairs = zip(ours["token_logprobs"], theirs["token_logprobs"], strict=True)
                noise = max(noise, *(abs(a - b) for a, b in pairs))
        answer, _ = two.post("/v1/chat/completions", {**chat, "max_tokens": 64})
        status = two.system("/status")
        log = two.log.read_text(errors="replace")

    nvlink = [line for line in log.splitlines() if "cuda_ipc" in line]
    print(f"\nprompts {len(prompts)}  differing {differing}  logprob noise {noise:.2e}")
    print(f"KV moved {moved / 1e6:.1f} MB in {seconds * 1e3:.1f} ms (pull to first token)")
    print("\n".join(nvlink[:4]))
    print(json.dumps(status)[:1500])
    print(json.dumps(answer["choices"][0], ensure_ascii=False)[:600])
    assert differing == 0
    assert moved > 0
    assert nvlink, "UCX names no CUDA IPC transport"
    assert answer["choices"][0]["message"] == said["choices"][0]["message"]
