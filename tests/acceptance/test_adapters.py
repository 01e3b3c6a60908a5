"""LoRA adapters on real engines: listed, asked for by name, prefilled elsewhere, routed by caches of their own."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.adapters import make_adapter
from tests.process.serving import EXAMPLES, ROOT, Host, free_port

pytestmark = [pytest.mark.acceptance, pytest.mark.engine, pytest.mark.timeout(600)]

PROMPT = " ".join(["river stone cloud ember quiet marble"] * 60)


class Service:
    """A served graph with adapters, on a host of its own."""

    def __init__(self, graph: str, folders: dict[str, Path], *flags: str) -> None:
        self._host, port = Host(), free_port()
        modules = ",".join(f"{name}={folder}" for name, folder in folders.items())
        flags = (*flags, f"--VllmWorker.lora-modules={modules}", "--VllmWorker.max-loras=2")
        if graph == "disagg_router":
            flags = (*flags, f"--PrefillWorker.lora-modules={modules}", "--PrefillWorker.max-loras=2")
        serve = self._host.serve(
            f"graphs.{graph}:Frontend", "-f", f"configs/{graph}.yaml", "--port", str(port), *flags, cwd=EXAMPLES
        )
        self._system = serve.wait_ready(180).get
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}/v1", timeout=120, trust_env=False)

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._host.close()

    def say(self, model: str, tail: str = "") -> tuple[str, dict[str, dict[str, Any]]]:
        """A model's answer to the prompt, and the story's details by stage."""
        body = {"model": model, "prompt": PROMPT + tail, "max_tokens": 12, "temperature": 0, "ignore_eos": True}
        answer = self.client.post("/completions", json=body)
        assert answer.status_code == 200, answer.text
        code, page = self._system(f"/trace/{answer.headers['x-request-id']}")
        assert code == 200
        found = answer.json()
        assert found["model"] == model
        return found["choices"][0]["text"], {each["name"]: each["detail"] for each in json.loads(page)["stages"]}


def test_an_adapter_answers_the_same_wherever_its_prompt_is_computed(tmp_path: Path) -> None:
    model = ROOT / "models" / "tiny-qwen3"
    folders = {name: make_adapter(tmp_path / name, model, seed=i) for i, name in enumerate(("loud", "low"))}
    with Service("disagg_router", folders, "--VllmWorker.conditional-disagg=false") as service:
        listed = {each["id"]: each["parent"] for each in service.client.get("/models").json()["data"]}
        assert listed == {"tiny-qwen3": None, "loud": "tiny-qwen3", "low": "tiny-qwen3"}
        apart = {name: service.say(name) for name in listed}
        assert [story["prefill_decision"]["site"] for _, story in apart.values()] == ["remote"] * 3
        assert service.client.post("/completions", json={"model": "lost", "prompt": "x"}).status_code == 404

    with Service("agg_router", folders) as service:
        here = {name: service.say(name) for name in listed}
        assert {name: text for name, (text, _) in here.items()} == {name: text for name, (text, _) in apart.items()}
        assert len({text for text, _ in here.values()}) == 3, "each speaks for itself"
        assert [story["finished"]["cached_tokens"] for _, story in here.values()] == [0, 0, 0]
        for number in range(12):
            _, story = service.say(list(listed)[number % 3], f" {number}")
            assert story["routed"]["expected_cached_tokens"] == story["finished"]["cached_tokens"] > 0
