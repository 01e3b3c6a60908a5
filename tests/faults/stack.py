"""A service under load whose processes can be killed, stopped and cut off, one by one, by process id."""

import asyncio
import json
import math
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from tests.process.serving import MODEL, ROOT, Host, free_port

GRAPH = """\
from tandem.graph.services import Frontend, PrefillWorker, Processor, VllmWorker

Frontend.link(Processor).link(VllmWorker).link(PrefillWorker)
"""
SIMULATED = (
    "engine: simulated\n  block-size: 32\n  num-kv-blocks: 4096\n  prefill-tokens-per-s: 2500\n  decode-step-s: 0.01"
)
VLLM = "engine: vllm\n  block-size: 32\n  max-model-len: 2048\n  kv-cache-memory-bytes: 134217728"


HELD_OUT = ROOT / "models" / "make" / "heldout.jsonl"
Prompt = list[int] | str


@dataclass(frozen=True, slots=True)
class Ended:
    """How one request ended, as its client saw it."""

    text: str
    error: str | None
    took_s: float
    margin: float = math.inf
    """How far the log probability of each token was above its best rival's, at least, where they were asked for."""


class Stack:
    """One `tandem serve` of a whole graph on a `Host`, with a client."""

    def __init__(self, host: Host, *, prefill: int, decode: int, worker: str, env: Mapping[str, str]) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.folder = host.folder
        host.write("fault_graph.py", GRAPH)
        host.write(
            "fault.yaml",
            f"Common:\n  model: {MODEL}\n"
            f"Frontend:\n  served_model_name: demo\n  port: {port}\n"
            "Processor:\n  common-configs: [model]\n"
            f"VllmWorker:\n  common-configs: [model]\n  remote-prefill: true\n  conditional-disagg: false\n  {worker}\n"
            f"  ServiceArgs: {{workers: {decode}}}\n"
            f"PrefillWorker:\n  common-configs: [model]\n  ack-wait-s: 2\n  {worker}\n"
            f"  ServiceArgs: {{workers: {prefill}}}\n",
        )
        host.env.update(env)
        self.serve = host.serve("fault_graph:Frontend", "-f", "fault.yaml")
        self._http = httpx.AsyncClient(
            base_url=self.url,
            timeout=httpx.Timeout(180.0),
            limits=httpx.Limits(max_connections=200),
        )

    async def aclose(self) -> None:
        """SIGTERM must end it."""
        await self._http.aclose()
        await asyncio.to_thread(self.serve.stop, timeout_s=20)

    def count(self, name: str, **labels: str) -> float:
        """A counter of all processes together, over all label values but those given."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        lines = self.serve.get("/metrics")[1].splitlines()
        found = [line for line in lines if line.startswith(name) and all(label in line for label in wanted)]
        return sum(float(line.rpartition(" ")[2]) for line in found)

    def busy(self) -> list[str]:
        """Workers with a request, a job, a sequence or a block in use that is."""
        services = {p["name"]: p["services"] for p in self.serve.status()["processes"]}
        keys = ("requests", "prefill_jobs", "running", "waiting", "kv_blocks_used")
        return [name for name, each in services.items() if any(s.get(key) for s in each.values() for key in keys)]

    async def until_idle(self, timeout_s: float = 10.0) -> None:
        """Return when no worker works on anything, or holds a block, any more."""
        give_up = time.monotonic() + timeout_s
        while busy := await asyncio.to_thread(self.busy):
            assert time.monotonic() < give_up, f"still busy: {busy} {self.serve.status()}"
            await asyncio.sleep(0.05)

    async def ask(self, prompt: Prompt, **fields: Any) -> Ended:
        """One streamed request to its end. Raises when it has no end, or two."""
        begun = time.monotonic()
        text, finished, error, margin = "", 0, None, math.inf
        body = {"model": "demo", "prompt": prompt, "max_tokens": 40, "temperature": 0, "stream": True, **fields}
        try:
            async with self._http.stream("POST", "/v1/completions", json=body) as answer:
                if answer.status_code != 200:
                    return Ended("", f"status {answer.status_code}", time.monotonic() - begun)
                async for line in answer.aiter_lines():
                    if not line.startswith("data: ") or line == "data: [DONE]":
                        continue
                    assert error is None, "something came after the error"
                    event = json.loads(line[6:])
                    if "error" in event:
                        error = str(event["error"]["code"])
                        continue
                    for choice in event["choices"]:
                        assert not finished, "something came after the end"
                        text += choice["text"]
                        finished += choice["finish_reason"] is not None
                        margin = min(margin, _margin(choice))
        except httpx.TransportError as broken:
            error = type(broken).__name__
        assert finished + (error is not None) == 1, f"finished {finished} times, error {error}"
        return Ended(text, error, time.monotonic() - begun, margin)


def _margin(choice: dict[str, Any]) -> float:
    """How much likelier each token was than its rival, at the least; 0 where both are spelled alike."""
    first_two = [sorted(top.values())[-2:] for top in (choice.get("logprobs") or {}).get("top_logprobs") or []]
    return min((two[1] - two[0] if len(two) == 2 else 0.0 for two in first_two), default=math.inf)


def prompts(count: int, *, seed: int = 1, longest: int = 900) -> list[Prompt]:
    """Different prompts of different lengths."""
    rng = random.Random(seed)
    return [[rng.randrange(300, 4000) for _ in range(rng.randrange(1, longest))] for _ in range(count)]


def questions(count: int, *, seed: int) -> list[Prompt]:
    """Different conversations that end in a question which the demo model was made for: it is sure of most words."""
    rng = random.Random(seed)
    held_out = [json.loads(line)["messages"] for line in HELD_OUT.read_text().splitlines()]
    asked = [turns[0]["content"] for turns in held_out if len(turns) == 1 and len(turns[0]["content"]) < 200]
    return [
        "".join(_turn(each) for each in rng.sample(asked, rng.randrange(1, 20)))[: -len(_ANSWER)] for _ in range(count)
    ]


_ANSWER = "<think>\n\n</think>\n\nThat is a good question.<|im_end|>\n"


def _turn(question: str) -> str:
    return f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{_ANSWER}"


@asynccontextmanager
async def a_stack(
    host: Host, *, prefill: int = 2, decode: int = 2, worker: str = SIMULATED, env: Mapping[str, str] | None = None
) -> AsyncIterator[Stack]:
    """A ready service."""
    stack = Stack(host, prefill=prefill, decode=decode, worker=worker, env=env or {})
    try:
        await asyncio.to_thread(stack.serve.wait_ready, 240)
        yield stack
    finally:
        await stack.aclose()


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Requests at a steady rate."""

    prompts: list[Prompt]
    every_s: float = 0.05
    fields: Mapping[str, Any] = field(default_factory=lambda: {"ignore_eos": True})
    """Of each request."""
    patience_s: float = 90.0

    async def run(self, stack: Stack) -> list[Ended]:
        """Send them all; every one ends in time after the last was sent, or this raises."""
        asked = []
        for prompt in self.prompts:
            asked.append(asyncio.create_task(stack.ask(prompt, **self.fields)))
            await asyncio.sleep(self.every_s)
        async with asyncio.timeout(self.patience_s):
            return await asyncio.gather(*asked)
