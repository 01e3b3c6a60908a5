"""The guide's three commands on real engines, in the worst order there is.

Workers first, so that engines are loaded long before there is anybody to tell; the decode worker before the prefill
worker, so that it has nobody to send prompts to; the processor last of the three; then the store, so that all three
register at once and requests are answered while there is no queue yet; and at last the bus, to which everybody has
to find by themselves. In any other order somebody finds ready what is missing here.
"""

import asyncio
import json

import pytest
from tests.process.serving import EXAMPLES, Host, Serve, eventually, fetch, free_port
from tests.process.test_guide import COMMANDS, GUIDES_ENV
from tests.servers import EtcdServer, NatsServer

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]

LOADED_S = 150


def asked(port: int, processor: Serve) -> tuple[str, dict[str, object]]:
    """The text of an answer, and how its prompt was prefilled."""
    body = {
        "model": "qwen",
        "messages": [{"role": "user", "content": "Let's test it"}],
        "max_tokens": 40,
        "temperature": 0,
    }
    code, answer = fetch(f"http://127.0.0.1:{port}/v1/chat/completions", body, timeout_s=60)
    assert code == 200, answer
    told = json.loads(answer)
    story = json.loads(processor.get(f"/trace/{told['id']}")[1])["stages"]
    message = told["choices"][0]["message"]
    return str(message.get("reasoning_content")) + str(message["content"]), {
        stage["name"]: stage["detail"] for stage in story
    }


async def test_workers_first_the_store_late_and_the_bus_last(host: Host) -> None:
    etcd, nats = EtcdServer(), NatsServer()
    port = free_port()
    env = {**GUIDES_ENV, "ETCD_ENDPOINTS": etcd.url, "NATS_SERVER": nats.url}
    serves = {}
    try:
        for role in ("decoder", "prefill", "processor"):
            serves[role] = host.serve(*COMMANDS[role], f"--Frontend.port={port}", cwd=EXAMPLES, env=env)
            await asyncio.sleep(1.0)
        for role in ("decoder", "prefill"):
            serves[role].said(": connecting", LOADED_S)
        await asyncio.sleep(10)  # they ask for the store again and again
        assert all(serve.process.poll() is None for serve in serves.values())
        assert fetch(f"http://127.0.0.1:{port}/v1/models") == (0, "")

        await etcd.start()
        for serve in serves.values():
            serve.wait_ready(60)
        before, stages = asked(port, serves["processor"])
        assert "kv_pull" not in stages, "there is no queue yet"

        await nats.start()
        eventually(lambda: "kv_pull" in asked(port, serves["processor"])[1], 30, "a remotely prefilled answer")
        after, stages = asked(port, serves["processor"])
        assert stages["prefill_decision"] == {"site": "remote", "reason": "always"}
        assert after == before
        for serve in reversed(serves.values()):
            assert serve.stop() == 0, serve.log
    finally:
        for serve in serves.values():
            if serve.process.poll() is None:
                serve.stop()
        await etcd.aclose()
        await nats.aclose()
