"""The guide's three commands, unchanged but for ports and engine, in every order, on one host."""

import asyncio
import itertools
import json
import shlex
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.process.serving import EXAMPLES, Host, Serve, eventually, fetch, free_port
from tests.servers import EtcdServer, NatsServer

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

FAST = ("--VllmWorker.engine=simulated", "--PrefillWorker.engine=simulated")
COMMANDS = {
    "processor": ("graphs.pd_disagg:Frontend", "-f", "./configs/qwen3.yaml"),
    "prefill": ("components.prefill_worker:PrefillWorker", "-f", "./configs/qwen3.yaml"),
    "decoder": ("components.worker:VllmWorker", "-f", "./configs/qwen3.yaml", "--service-name", "VllmWorker"),
}
GUIDES_ENV = {"DYNAMO_NAME": "dynamo", "DYNAMO_NAMESPACE": "default", "DYNAMO_RP_TIMEOUT": "60"}


def start(host: Host, role: str, port: int, **env: str) -> Serve:
    return host.serve(*COMMANDS[role], *FAST, f"--Frontend.port={port}", cwd=EXAMPLES, env={**GUIDES_ENV, **env})


def ask(port: int, text: str = "Let's test it") -> tuple[int, dict[str, object]]:
    body = {"model": "qwen", "messages": [{"role": "user", "content": text}], "stream": False, "max_tokens": 30}
    code, answer = fetch(f"http://127.0.0.1:{port}/v1/chat/completions", body)
    return code, json.loads(answer) if answer else {}


def answered_remotely(port: int, processor: Serve) -> bool:
    """Ask, and look up how the answer was made."""
    code, answer = ask(port, f"It is {time.time()}")
    if code != 200:
        return False
    story = json.loads(processor.get(f"/trace/{answer['id']}")[1])
    return "kv_pull" in [stage["name"] for stage in story["stages"]]


@pytest.mark.parametrize("order", list(itertools.permutations(COMMANDS)), ids="-".join)
def test_any_start_order_leads_to_the_same_service(host: Host, order: tuple[str, ...]) -> None:
    port = free_port()
    serves = {}
    for role in order:
        serves[role] = start(host, role, port)
        time.sleep(0.3)
    for serve in serves.values():
        serve.wait_ready(20)
    code, answer = ask(port)
    assert code == 200, answer
    eventually(lambda: answered_remotely(port, serves["processor"]), what="a remotely prefilled answer")
    for serve in reversed(serves.values()):
        assert serve.stop() == 0, serve.log


def test_the_port_opens_only_with_a_decode_worker(host: Host) -> None:
    port = free_port()
    processor = start(host, "processor", port)
    processor.said("0 of 1 decode workers")
    assert processor.get("/live")[0] == 200
    assert processor.get("/ready")[0] == 503
    assert fetch(f"http://127.0.0.1:{port}/v1/models") == (0, "")
    decoder = start(host, "decoder", port)
    processor.wait_ready()
    assert fetch(f"http://127.0.0.1:{port}/v1/models")[0] == 200
    code, body = decoder.get("/ready")
    assert code == 200
    assert "degraded: VllmWorker.0: no prefill worker is alive" in body
    assert ask(port)[0] == 200


async def test_etcd_and_nats_may_arrive_late(host: Host) -> None:
    etcd, nats = EtcdServer(), NatsServer()
    port = free_port()
    planes = {"ETCD_ENDPOINTS": etcd.url, "NATS_SERVER": nats.url}
    serves = {role: start(host, role, port, **planes) for role in COMMANDS}
    try:
        await asyncio.sleep(1.5)
        assert all(serve.process.poll() is None for serve in serves.values())
        assert not list((host.folder / "tandem").glob("*.sock"))
        await etcd.start()
        await nats.start()
        for serve in serves.values():
            serve.wait_ready(25)
        eventually(lambda: answered_remotely(port, serves["processor"]), what="a remotely prefilled answer")
    finally:
        for serve in serves.values():
            serve.stop()
        await etcd.aclose()
        await nats.aclose()


def test_a_busy_front_port_ends_serve_with_status_2(host: Host) -> None:
    port = free_port()
    first = host.serve("graphs.agg:Frontend", "-f", "configs/agg.yaml", "--VllmWorker.engine=simulated",
                       f"--Frontend.port={port}", cwd=EXAMPLES)  # fmt: skip
    first.wait_ready()
    second = start(host, "processor", port)
    assert second.process.wait(20) == 2
    assert f"port {port}" in second.log


@pytest.mark.parametrize("graph", ["agg", "agg_router", "disagg", "disagg_router"])
def test_every_example_graph_answers(host: Host, graph: str) -> None:
    port = free_port()
    config = f"configs/{graph}.yaml"
    serve = host.serve(f"graphs.{graph}:Frontend", "-f", config, *FAST, f"--Frontend.port={port}", cwd=EXAMPLES)
    serve.wait_ready(20)
    eventually(lambda: "curl http://127.0.0.1" in serve.log)
    body = json.loads(shlex.split(serve.log[serve.log.index("curl http") :].splitlines()[0])[-1])
    assert body["max_tokens"] <= 100, "who pastes the line is not to wait for a whole context"
    assert fetch(f"http://127.0.0.1:{port}/v1/chat/completions", body)[0] == 200


def test_configs_exist_for_every_graph() -> None:
    graphs = {path.stem for path in Path(EXAMPLES, "graphs").glob("[a-z]*.py")} - {"pd_disagg"}
    assert graphs == {path.stem for path in Path(EXAMPLES, "configs").glob("*.yaml")} - {"qwen3"}


def test_sigterm_lets_a_running_answer_finish(host: Host) -> None:
    port = free_port()
    slow = ("--VllmWorker.decode-step-s=0.05", f"--Frontend.port={port}")
    serve = host.serve("graphs.agg:Frontend", "-f", "configs/agg.yaml", *FAST, *slow, cwd=EXAMPLES).wait_ready(20)
    body = {"model": "tiny-qwen3", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 40}
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(fetch, f"http://127.0.0.1:{port}/v1/chat/completions", body)
        eventually(lambda: serve.status()["processes"][0]["services"]["Frontend"]["requests"] == 1)
        serve.process.terminate()
        serve.said("SIGTERM: stopping")
        code, answer = asked.result()
    assert code == 200, answer
    assert json.loads(answer)["usage"]["completion_tokens"] == 40
    assert serve.process.wait(20) == 0
    assert fetch(f"http://127.0.0.1:{port}/v1/models") == (0, "")


def test_demo_serves_two_prefill_workers_and_one_decode_worker(host: Host) -> None:
    port = free_port()
    serve = host.run("demo", "--engine", "simulated", "--port", str(port), cwd=EXAMPLES).wait_ready(20)
    assert [each["name"] for each in serve.status()["processes"]] == [
        "Frontend",
        "PrefillWorker.0",
        "PrefillWorker.1",
        "VllmWorker.0",
    ]
    body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5}
    answer = json.loads(fetch(f"http://127.0.0.1:{port}/v1/chat/completions", body)[1])
    told = host.command("trace", answer["id"])
    assert "kv_pull" in told
    assert "PrefillWorker.1" in host.command("status")
    assert (
        'vllm:num_requests_waiting{process="PrefillWorker.0",engine="0",model_name="tiny-qwen3"} 0'
        in serve.get("/metrics")[1]
    )
