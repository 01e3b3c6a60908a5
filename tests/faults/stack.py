"""A service under load whose processes can be killed, stopped and cut off, one by one, by process id."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
from tests.process.serving import MODEL, Host, free_port

GRAPH = """\
from tandem.graph.services import Frontend, PrefillWorker, Processor, VllmWorker

Frontend.link(Processor).link(VllmWorker).link(PrefillWorker)
"""
SIMULATED = (
    "engine: simulated\n  block-size: 32\n  num-kv-blocks: 4096\n  prefill-tokens-per-s: 4000\n  decode-step-s: 0.01"
)
VLLM = "engine: vllm\n  block-size: 32\n  max-model-len: 2048\n  kv-cache-memory-bytes: 134217728"


@dataclass(frozen=True, slots=True)
class Ended:
    """How one request ended, as its client saw it."""

    text: str
    error: str | None
    took_s: float


class Stack:
    """One `tandem serve` of a whole graph on a `Host`, with a client."""

    def __init__(self, host: Host, *, prefill: int, decode: int, worker: str, env: Mapping[str, str]) -> None:
        port = free_port()
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
            base_url=f"http://127.0.0.1:{port}",
            timeout=httpx.Timeout(90.0),
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

    async def ask(self, prompt: list[int], *, max_tokens: int = 40) -> Ended:
        """One streamed request to its end. Raises when it has no end, or two."""
        begun = time.monotonic()
        text, finished, error = "", 0, None
        body = {"model": "demo", "prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "stream": True}
        try:
            async with self._http.stream("POST", "/v1/completions", json={**body, "ignore_eos": True}) as answer:
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
        except httpx.TransportError as broken:
            error = type(broken).__name__
        assert finished + (error is not None) == 1, f"finished {finished} times, error {error}"
        return Ended(text, error, time.monotonic() - begun)


def prompts(count: int, *, seed: int = 1, longest: int = 900) -> list[list[int]]:
    """Different prompts of different lengths."""
    rng = random.Random(seed)
    return [[rng.randrange(300, 4000) for _ in range(rng.randrange(1, longest))] for _ in range(count)]


@asynccontextmanager
async def a_stack(
    host: Host, *, prefill: int = 2, decode: int = 2, worker: str = SIMULATED, env: Mapping[str, str] | None = None
) -> AsyncIterator[Stack]:
    """A ready service."""
    stack = Stack(host, prefill=prefill, decode=decode, worker=worker, env=env or {})
    await asyncio.to_thread(stack.serve.wait_ready, 120)
    yield stack
    await stack.aclose()


class Load:
    """Requests at a steady rate, kept until all have ended."""

    def __init__(self, stack: Stack, wanted: list[list[int]], *, every_s: float) -> None:
        self._stack = stack
        self._wanted = wanted
        self._every_s = every_s
        self._asked: list[asyncio.Task[Ended]] = []

    async def run(self) -> list[Ended]:
        """Send them all; every one ends within 90 s or this raises."""
        for prompt in self._wanted:
            self._asked.append(asyncio.create_task(self._stack.ask(prompt)))
            await asyncio.sleep(self._every_s)
        async with asyncio.timeout(90):
            return list(await asyncio.gather(*self._asked))
