"""Streaming chat load over raw sockets: little CPU of its own, so that two cores are the servers'.

    python -m bench.load --port 8000 --model q --connections 128 --requests 2000 --tokens 128 --words 200 --pid 4711

Closed loop by default (each connection asks again when it has its answer); `--rate R` sends R requests/s with
exponential gaps whatever the server does. Prompts are random and new in every run. CPU is read from /proc for each
pid: steadier than wall time on a busy machine. Ends with one JSON line.
"""

import argparse
import asyncio
import json
import os
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import uvloop

_TEXT = (
    "return self def class import value index range list dict result data name file path error config test run time "
    "the of and to in is that for it as with was on are by this be from or an at which one have had not but what all"
)
_WORDS = _TEXT.split()
_END = b"0\r\n\r\n"
_CHUNK = b'"delta"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is asked for."""

    port: int
    model: str
    connections: int = 128
    requests: int = 1000
    tokens: int = 128
    words: int = 200
    rate: float | None = None
    """Requests per second; None: closed loop."""


@dataclass(slots=True)
class Result:
    """What came back, and what it cost."""

    done: int = 0
    chunks: int = 0
    short: int = 0
    """Answers with fewer chunks than tokens."""
    errors: list[str] = field(default_factory=list)
    wall_s: float = 0.0
    ttft_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    """Of each process that was watched."""

    @property
    def requests_per_s(self) -> float:
        return self.done / self.wall_s

    def ttft_ms(self, share: float) -> float:
        """A quantile of the times to first token. Milliseconds."""
        return 1e3 * sorted(self.ttft_s)[int(share * (len(self.ttft_s) - 1))]

    def cpu_ms_per_request(self, process: int = 0) -> float:
        return 1e3 * self.cpu_s[process] / max(1, self.done)


def cpu_seconds(pid: int) -> float:
    """User and system time of one process."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def payloads(work: Workload, rng: random.Random) -> Iterator[bytes]:
    """Requests with fresh prompts."""
    for _ in range(work.requests):
        text = " ".join(rng.choices(_WORDS, k=work.words))
        body = json.dumps(
            {
                "model": work.model,
                "messages": [{"role": "user", "content": text}],
                "stream": True,
                "max_tokens": work.tokens,
                "ignore_eos": True,
            }
        )
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
        yield f"{head}{len(body)}\r\n\r\n{body}".encode()


class _Connection(asyncio.Protocol):
    """Asks, counts, and says when the answer is over."""

    transport: asyncio.Transport

    def __init__(self, load: "_Load") -> None:
        self._load = load
        self._asked_at: float | None = None
        self._began = False
        self._seen = 0
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's is no subclass

    def ask(self, payload: bytes) -> None:
        self._asked_at, self._began, self._seen, self._tail = time.perf_counter(), False, 0, b""
        self.transport.write(payload)

    @property
    def waits(self) -> bool:
        return self._asked_at is not None

    def told(self) -> str:
        """For the eyes of who looks for a lost answer."""
        return f"{self.transport.get_extra_info('sockname')}: {self._seen} events, last {self._tail!r}"

    def data_received(self, data: bytes) -> None:
        if self._asked_at is None:
            return
        result = self._load.result
        joined = self._tail + data
        found = joined.count(_CHUNK)
        if found and not self._seen:
            result.ttft_s.append(time.perf_counter() - self._asked_at)
        if not self._began and not data.startswith(b"HTTP/1.1 200"):
            self._over(data[:300].decode(errors="replace"))
            return
        self._began = True
        self._seen += found
        self._tail = joined[-(len(_CHUNK) - 1) :]
        if joined.endswith(_END):
            self._over(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._asked_at is not None:
            self._over(f"connection lost: {exc}")
        else:
            self._load.forget(self)

    def _over(self, error: str | None) -> None:
        result, self._asked_at = self._load.result, None
        if error is None:
            result.done += 1
            result.chunks += self._seen
            result.short += self._seen < self._load.work.tokens
        else:
            result.errors.append(error)
        self._load.free(self)


class _Load:
    """One run."""

    def __init__(self, work: Workload) -> None:
        self.work = work
        self.result = Result()
        self._payloads = iter(list(payloads(work, random.Random())))
        self._idle: list[_Connection] = []
        self.left = work.requests
        self._connections: list[_Connection] = []
        self._reconnecting: list[asyncio.Future[None]] = []
        self._over = asyncio.Event()

    async def run(self) -> Result:
        work = self.work
        for _ in range(work.connections if work.rate is None else 32):
            self._idle.append(await self._connect())
        start = time.perf_counter()
        if work.rate is None:
            idle, self._idle = self._idle, []
            for connection in idle:
                self._next(connection)
        else:
            rng, due = random.Random(), start
            for payload in self._payloads:
                due += rng.expovariate(work.rate)
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                if not self._idle:
                    self._idle.append(await self._connect())
                self._idle.pop().ask(payload)
        await self._over.wait()
        self.result.wall_s = time.perf_counter() - start
        return self.result

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self.work.port)
        self._connections.append(connection)
        return connection

    def waiting(self) -> list[str]:
        """Up to three connections that wait: their own port, the events seen, the last bytes."""
        late = [each.told() for each in self._connections if each.waits]
        return late[:3]

    def _next(self, connection: _Connection) -> None:
        payload = next(self._payloads, None)
        if payload is not None:
            connection.ask(payload)

    def free(self, connection: _Connection) -> None:
        """A connection has its answer, or a failure."""
        self.left -= 1
        if not self.left:
            self._over.set()
        elif connection.transport.is_closing():
            if self.work.rate is None:
                self._reconnecting.append(asyncio.ensure_future(self._instead()))
        elif self.work.rate is None:
            self._next(connection)
        else:
            self._idle.append(connection)

    async def _instead(self) -> None:
        """A connection in place of a lost one, which asks what that would have asked next."""
        self._next(await self._connect())

    def forget(self, connection: _Connection) -> None:
        """An idle connection was closed by the server."""
        if connection in self._idle:
            self._idle.remove(connection)


def measured(work: Workload, pids: list[int], *, timeout_s: float = 240.0) -> Result:
    """One run, and the CPU of each of `pids`. Raises RuntimeError, with what is missing, after `timeout_s`."""

    async def run() -> Result:
        load = _Load(work)
        before = [cpu_seconds(pid) for pid in pids]
        try:
            async with asyncio.timeout(timeout_s):
                result = await load.run()
        except TimeoutError:
            missing = f"{load.left} of {work.requests} requests have no answer after {timeout_s:.0f} s"
            raise RuntimeError(f"{missing}; of those that wait: {load.waiting()}") from None
        result.cpu_s = [cpu_seconds(pid) - b for pid, b in zip(pids, before, strict=True)]
        return result

    return uvloop.run(run())


def main() -> None:
    """One run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("port", 8000), ("connections", 128), ("requests", 1000), ("tokens", 128), ("words", 200)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--pid", type=int, action="append", default=[])
    asked = vars(parser.parse_args())
    result = measured(Workload(**{k: v for k, v in asked.items() if k != "pid"}), asked["pid"])
    told = {k: v for k, v in asdict(result).items() if k not in ("ttft_s", "errors", "cpu_s", "wall_s")}
    told |= {"errors": len(result.errors), "first_error": result.errors[:1]}
    told |= {"requests_per_s": round(result.requests_per_s, 1), "chunks_per_s": round(result.chunks / result.wall_s)}
    if result.ttft_s:
        told["ttft_ms_p50_p99"] = [round(result.ttft_ms(share), 1) for share in (0.5, 0.99)]
    told["cpu_ms_per_request"] = [round(result.cpu_ms_per_request(i), 3) for i in range(len(result.cpu_s))]
    print(json.dumps(told))


if __name__ == "__main__":
    main()
