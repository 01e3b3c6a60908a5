"""Of all the bad input there is, nothing reaches an engine of a running service."""

import json
from typing import Any

import httpx
import pytest
from tests.faults.stack import SIMULATED, VLLM, Stack, a_stack
from tests.frontend.test_bad_input import BAD_BODIES, BAD_FIELDS, CHAT, TEXT, of_openai_form
from tests.process.serving import Host

LIMITED = f"{SIMULATED}\n  max-model-len: 2048"
HI: Any = [{"role": "user", "content": "Hi"}]


def works(stack: Stack) -> dict[str, float]:
    """What grows when any worker gets to do anything."""
    return {name: stack.count(name) for name in ("tandem_prefill_decisions_total", "tandem_prefill_jobs_total")}


async def nothing_reaches_an_engine(host: Host, worker: str) -> None:
    async with (
        a_stack(host, prefill=1, decode=1, worker=worker) as stack,
        httpx.AsyncClient(base_url=stack.url, timeout=60) as client,
    ):

        async def refused(path: str, body: bytes) -> int:
            answer = await client.post(path, content=body)
            of_openai_form(answer.json())
            return answer.status_code

        assert (await stack.ask([400, 401, 402])).error is None
        before = works(stack)
        assert before == {"tandem_prefill_decisions_total": 1, "tandem_prefill_jobs_total": 1}
        for path, fields, _, _ in BAD_FIELDS:
            for stream in (False, True):
                body = {"stream": stream, **fields}
                if body.get("model") == "tiny":
                    body["model"] = "demo"
                assert await refused(path, json.dumps(body).encode()) == 400, body
        for raw, _ in BAD_BODIES:
            assert await refused(CHAT, raw) == 400, raw[:100]
        for path, body in [(CHAT, {"messages": HI}), (TEXT, {"prompt": "Hi"})]:
            assert await refused(path, json.dumps({"model": "nobody", **body}).encode()) == 404
            assert await refused(path, bytes(100_000_000)) == 413
        assert works(stack) == before
        assert (await stack.ask([400, 401, 402])).error is None
        assert works(stack)["tandem_prefill_decisions_total"] == 2


@pytest.mark.process
@pytest.mark.timeout(120)
async def test_nothing_reaches_a_simulated_engine(host: Host) -> None:
    await nothing_reaches_an_engine(host, LIMITED)


@pytest.mark.acceptance
@pytest.mark.timeout(300)
async def test_nothing_reaches_a_real_engine(host: Host) -> None:
    await nothing_reaches_an_engine(host, VLLM)
