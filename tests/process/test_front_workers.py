"""`tandem serve --workers 2`: two front ends on one port, as a client and an operator see them."""

import http.client
import json
import os
import signal
import socket
import threading
from pathlib import Path

import pytest
from tests.process.serving import MODEL, Host, Serve, eventually, free_port

from tandem.frontend.guard.keys import new_key

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]
GRAPH = (
    "from tandem.graph.services import Frontend, Processor, Router, VllmWorker\n\n"
    "Frontend.link(Processor).link(Router).link(VllmWorker)\nProcessor.link(VllmWorker)\n"
)


def ask(connection: http.client.HTTPConnection, key: str, tokens: int) -> http.client.HTTPResponse:
    """A streamed chat of so many tokens, 19 ms each."""
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": tokens, "stream": True}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"authorization": f"Bearer {key}"})
    return connection.getresponse()


class Streams:
    """Chats that run at once, each on a connection of its own."""

    def __init__(self, port: int, key: str, count: int, tokens: int) -> None:
        self._begun = threading.Barrier(count + 1, timeout=20)
        self.whole = self.broken = 0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(port, key, tokens)) for _ in range(count)]
        for thread in self._threads:
            thread.start()
        self._begun.wait()

    def _run(self, port: int, key: str, tokens: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        reply = ask(connection, key, tokens)
        assert reply.status == 200
        self._begun.wait()
        try:
            whole = reply.read().endswith(b"data: [DONE]\n\n")
        except (OSError, http.client.HTTPException):
            whole = False
        connection.close()
        with self._lock:
            self.whole, self.broken = self.whole + whole, self.broken + (not whole)

    def end(self) -> tuple[int, int]:
        """How many were answered to the end, and how many were not."""
        for thread in self._threads:
            thread.join(30)
        return self.whole, self.broken


def fronts(serve: Serve) -> dict[str, dict[str, int]]:
    """The front ends by name: pid and requests under way."""
    found = {}
    for process in serve.status()["processes"]:
        if process["pid"] and (services := process["services"]).get("Frontend"):
            found[process["name"]] = {"pid": process["pid"], "requests": services["Frontend"]["requests"]}
    return found


def requests_of_each(serve: Serve) -> list[float]:
    """How many each front end has had, once both have been asked for their figures."""
    page = serve.get("/metrics")[1].splitlines()
    counted = [float(line.split()[-1]) for line in page if line.startswith("tandem_requests_total{")]
    return counted if len(counted) == 2 else [*counted, 0.0]


def spread(serve: Serve, port: int, key: str, tokens: int) -> Streams:
    """Streams of which both front ends have some."""
    for _ in range(10):
        streams = Streams(port, key, 12, tokens)
        if all(front["requests"] for front in fronts(serve).values()):
            return streams
        streams.end()
    raise AssertionError("one front end takes every connection")


def test_two_front_ends_share_a_port_and_a_key_and_lose_only_what_dies_with_one(host: Host) -> None:
    port, alice, bob = free_port(), new_key("alice", {"requests-per-day": 20}), new_key("bob")
    keys = host.write("keys.yaml", f"{alice.line}\n{bob.line}\n")
    host.write("graph.py", GRAPH)
    settings = [f"--Frontend.api-keys-file={keys}", f"--Processor.model={MODEL}", f"--VllmWorker.model={MODEL}"]
    serve = host.serve(
        "graph:Frontend", "--workers", "2", "--port", str(port), "--VllmWorker.engine=simulated", *settings,
        cwd=Path(host.folder),
    )  # fmt: skip
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))  # late opening holds for all of them
    serve.wait_ready()
    assert set(fronts(serve)) == {"Frontend.0", "Frontend.1"}

    connections: list[http.client.HTTPConnection] = []
    while not (both := requests_of_each(serve)) or min(both) < 1:  # who of two idle processes accepts is a race
        assert len(connections) < 160, f"one front end takes every connection: {both}"
        connections.append(http.client.HTTPConnection("127.0.0.1", port, timeout=20))
        reply = ask(connections[-1], bob.key, 2)
        assert (reply.status, reply.read().count(b'"content"') >= 2) == (200, True)
    assert sum(both) == len(connections)

    passed = 0
    for turn in range(60):
        reply = ask(connections[turn % len(connections)], alice.key, 2)
        reply.read()
        passed += reply.status == 200
    assert 20 <= passed <= 26  # each hears of the other's within about 0.1 s; apart, 40 would pass
    for connection in connections:
        connection.close()

    streams = spread(serve, port, bob.key, 250)
    lost = fronts(serve)["Frontend.1"]
    os.kill(lost["pid"], signal.SIGKILL)
    Streams(port, bob.key, 4, 2).end()  # nobody is refused meanwhile
    assert streams.end() == (12 - lost["requests"], lost["requests"])
    assert 0 < lost["requests"] < 12
    eventually(lambda: serve.get("/ready")[0] == 200 and fronts(serve)["Frontend.1"]["pid"] != lost["pid"], 20)

    streams = Streams(port, bob.key, 12, 100)
    os.kill(fronts(serve)["Frontend.0"]["pid"], signal.SIGTERM)
    assert Streams(port, bob.key, 4, 2).end() == (4, 0)
    assert streams.end() == (12, 0)
    eventually(lambda: serve.get("/ready")[0] == 200, 20)

    streams = Streams(port, bob.key, 12, 100)
    assert serve.stop() == 0
    assert streams.end() == (12, 0)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_busy_port_is_told_before_anything_starts(host: Host) -> None:
    host.write("graph.py", GRAPH)
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        where = ["--workers", "2", "--port", str(port), "--host", "127.0.0.1", f"--VllmWorker.model={MODEL}"]
        serve = host.serve("graph:Frontend", *where, "--VllmWorker.engine=simulated")
        assert serve.process.wait(20) == 2
    assert f"port {port} on 127.0.0.1 is in use by another program" in serve.log
