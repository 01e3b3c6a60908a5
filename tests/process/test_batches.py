"""A batch outlives the processes that work on it."""

import json
import signal
from typing import Any

import pytest
from openai import OpenAI
from tests.process.serving import Host, Serve, eventually, free_port

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]
LINES = 60


def a_line(number: int) -> dict[str, Any]:
    body = {"model": "tiny-qwen3", "prompt": f"Line {number}", "max_tokens": 40, "ignore_eos": True}
    return {"custom_id": f"line-{number}", "method": "POST", "url": "/v1/completions", "body": body}


def serve(host: Host, port: int) -> Serve:
    settings = [f"--Frontend.batch-folder={host.folder}/batches", "--Frontend.batch-lease-s=1"]
    return host.run("demo", "--engine", "simulated", "--port", str(port), *settings).wait_ready()


def test_a_batch_goes_on_after_kill_9_and_after_a_stop(host: Host) -> None:
    port = free_port()
    ask = OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=5)
    with ask:
        first = serve(host, port)
        lines = "".join(json.dumps(a_line(i)) + "\n" for i in range(LINES)).encode()
        file = ask.files.create(file=("in.jsonl", lines), purpose="batch")
        batch = ask.batches.create(input_file_id=file.id, endpoint="/v1/completions", completion_window="24h")

        def completed() -> int:
            counts = ask.batches.retrieve(batch.id).request_counts
            return counts.completed if counts is not None else 0

        eventually(lambda: completed() >= 5)
        first.stop(signal.SIGKILL)
        eventually(lambda: not any(process.is_running() for process in first.family()))
        second = serve(host, port)
        before = completed()
        assert 5 <= before < LINES
        eventually(lambda: completed() > before + 3)
        assert second.stop() == 0
        serve(host, port)
        eventually(lambda: ask.batches.retrieve(batch.id).status == "completed")
        batch = ask.batches.retrieve(batch.id)
        assert batch.error_file_id is None, ask.files.content(batch.error_file_id).text
        assert batch.output_file_id is not None
        said = [json.loads(line) for line in ask.files.content(batch.output_file_id).text.splitlines()]
    assert [line["custom_id"] for line in said] == [f"line-{i}" for i in range(LINES)]
    assert {line["response"]["body"]["usage"]["completion_tokens"] for line in said} == {40}
