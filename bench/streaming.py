"""One streamed completion at a time over a kept connection, timed per server-sent event."""

import http.client
import itertools
import json
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timed:
    """When one answer's tokens came."""

    request_id: str
    ttft_s: float
    """Request sent → first content byte."""
    gaps_s: list[float]
    """Between consecutive events with content."""
    tokens: int


class Client:
    """Speaks `/v1/completions` with token ids as prompt, so that no tokenizer is in the way."""

    def __init__(self, port: int, model: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._model = model

    def complete(self, prompt: list[int], max_tokens: int) -> Timed:
        """Greedy, to exactly `max_tokens` tokens."""
        body = json.dumps(
            {
                "model": self._model,
                "prompt": prompt,
                "max_tokens": max_tokens,
                "temperature": 0,
                "ignore_eos": True,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        )
        sent = time.perf_counter()
        self._connection.request("POST", "/v1/completions", body, {"content-type": "application/json"})
        response = self._connection.getresponse()
        if response.status != 200:
            raise RuntimeError(f"status {response.status}: {response.read(500)!r}")
        times: list[float] = []
        tokens = 0
        while line := response.readline():
            if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
                continue
            now = time.perf_counter()
            event = json.loads(line[6:])
            if "error" in event:
                raise RuntimeError(event["error"])
            if event.get("choices"):
                times.append(now)
            if event.get("usage"):
                tokens = event["usage"]["completion_tokens"]
        gaps = [b - a for a, b in itertools.pairwise(times)]
        return Timed(response.headers["x-request-id"], times[0] - sent, gaps, tokens)
