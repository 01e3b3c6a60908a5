"""`tandem serve` with services of one's own: start, crash, stop, kill, join."""

import os
import signal
import time

import psutil
import pytest
from tests.process.serving import Host, Serve, eventually, fetch, free_port, still_there

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

GRAPH = """
import asyncio, subprocess
from collections.abc import AsyncIterator
from pathlib import Path
import msgspec
from tandem.graph import (
    api, async_on_shutdown, async_on_start, before_connect, depends, dynamo_context, endpoint, readiness, service
)

class Ask(msgspec.Struct):
    text: str

class Word(msgspec.Struct):
    text: str

@service(workers=2)
class Back:
    @before_connect
    def load(self):
        self.sleeper = subprocess.Popen(["sleep", "1000"])

    @endpoint()
    async def generate(self, ask: Ask) -> AsyncIterator[Word]:
        for each in ask.text.split():
            yield Word(f"{each}@{dynamo_context['worker_id']}")

    @async_on_shutdown
    def stop(self):
        self.sleeper.kill()
        self.sleeper.wait()
        Path(f"stopped-{dynamo_context['worker_id']}").touch()

@service()
class Middle:
    back = depends(Back)

    @endpoint()
    async def generate(self, ask: Ask) -> AsyncIterator[Word]:
        async for word in self.back.generate(ask):
            yield Word(word.text.upper())

@service()
class Front:
    middle = depends(Middle)
    seen = ""

    @async_on_start
    async def start(self):
        self.task = asyncio.create_task(self.ask())

    async def ask(self):
        while True:
            try:
                words = [word.text async for word in self.middle.generate(Ask("a b"))]
            except Exception as error:
                words = [repr(error)]
            self.seen = " ".join(words)
            Path("seen.tmp").write_text(self.seen)
            Path("seen.tmp").rename("seen")
            await asyncio.sleep(0.05)

    @readiness
    def ready(self):
        return "nobody answered yet" if "@" not in self.seen else True

    @async_on_shutdown
    async def drain(self):
        self.task.cancel()
        await asyncio.sleep(float(dynamo_context["config"].get("linger", 0)))
        Path("drained").touch()

Front.link(Middle).link(Back)

@service()
class Crash:
    @async_on_start
    def start(self):
        raise RuntimeError("no luck")

@service()
class Door:
    @api(name="shout")
    async def shout(self, ask: Ask) -> dict[str, str]:
        return {"text": ask.text.upper()}

    @api(name="spell")
    async def spell(self, ask: Ask) -> AsyncIterator[Word]:
        for letter in ask.text:
            yield Word(letter)

@service()
class Idle:
    pass
"""


@pytest.fixture
def graph(host: Host) -> Host:
    host.write("own.py", GRAPH)
    return host


def seen(host: Host) -> str:
    path = host.folder / "seen"
    return path.read_text() if path.exists() else ""


def test_services_are_served_and_answer_over_processes(graph: Host) -> None:
    serve = graph.serve("own:Front").wait_ready()
    eventually(lambda: seen(graph) == "A@0 B@0", what="an answer of worker 0")
    eventually(lambda: seen(graph) == "A@1 B@1", what="an answer of worker 1")
    status = serve.status()
    assert [process["name"] for process in status["processes"]] == ["Front", "Back.0", "Back.1"]
    assert list(status["processes"][0]["services"]) == ["Middle", "Front"]
    assert serve.get("/live")[0] == 200
    assert 'tandem_process_up{process="Back.0"} 1' in serve.get("/metrics")[1]
    assert serve.get("/trace/none")[0] == 404
    assert serve.get("/other")[0] == 404


def test_sigterm_drains_the_entry_first_and_leaves_nothing(graph: Host) -> None:
    serve = graph.serve("own:Front", "--Front.linger=0.5").wait_ready()
    family = serve.family()
    began = time.monotonic()
    assert serve.stop() == 0
    assert 0.5 < time.monotonic() - began < 20
    for name in ("drained", "stopped-0", "stopped-1"):
        assert (graph.folder / name).exists(), serve.log
    assert not still_there(family)
    assert sorted(path.name for path in (graph.folder / "tandem").iterdir() if not path.name.endswith(".lock")) == []


def test_a_second_signal_hurries(graph: Host) -> None:
    serve = graph.serve("own:Front", "--Front.linger=30").wait_ready()
    serve.process.send_signal(signal.SIGTERM)
    serve.said("a second signal hurries")
    serve.process.send_signal(signal.SIGINT)
    serve.process.wait(15)
    assert not (graph.folder / "drained").exists()


def test_a_killed_worker_is_replaced_with_whatever_it_had_started(graph: Host) -> None:
    serve = graph.serve("own:Front").wait_ready()
    victim = serve.pid_of("Back.0")
    sleepers = psutil.Process(victim).children()
    os.kill(victim, signal.SIGKILL)
    assert not still_there(sleepers)
    eventually(lambda: _pid(serve, "Back.0") not in (None, victim), what="a new Back.0")
    serve.wait_ready()
    assert "Back.0 ended with SIGKILL; starts again in 0.5 s" in serve.log
    eventually(lambda: seen(graph) == "A@0 B@0", what="an answer of the new worker")


def _pid(serve: Serve, name: str) -> int | None:
    return next((each["pid"] for each in serve.status()["processes"] if each["name"] == name), None)


def test_kill_9_of_the_supervisor_leaves_no_process(graph: Host) -> None:
    serve = graph.serve("own:Front").wait_ready()
    family = serve.family()
    assert sum("sleep" in process.name() for process in family) == 2
    serve.process.kill()
    serve.process.wait()
    assert not still_there(family)
    left = [path.name for path in (graph.folder / "tandem").iterdir() if not path.name.endswith(".lock")]
    assert left == []


def test_kill_9_of_the_zygote_is_survived(graph: Host) -> None:
    serve = graph.serve("own:Front").wait_ready()
    zygote = next(process for process in serve.family() if "zygote" in " ".join(process.cmdline()[:4]))
    zygote.kill()
    serve.said("starts again")
    serve.wait_ready()


def test_a_service_that_keeps_failing_ends_serve_with_status_1(graph: Host) -> None:
    serve = graph.serve("own:Crash", "--Supervisor.max-restarts=1", "--Supervisor.restart-delay-s=0.05")
    assert serve.process.wait(30) == 1
    assert "RuntimeError: no luck" in serve.log
    assert "Crash ended 2 times; giving up" in serve.log


def test_a_configuration_that_cannot_work_ends_with_status_2_and_every_fault(graph: Host) -> None:
    graph.write("c.yaml", "Frontend: {prot: 1}\nVllmWorker: {remote-prefil: true}")
    serve = graph.serve("own:Idle", "-f", "c.yaml")
    assert serve.process.wait(20) == 2
    assert "did you mean 'port'" in serve.log
    assert "did you mean 'remote-prefill'" in serve.log


def test_a_second_serve_joins_the_first_and_takes_over_its_planes(graph: Host) -> None:
    first = graph.serve("own:Back", "--service-name", "Back").wait_ready()
    assert "hosts the embedded planes" in first.log
    second = graph.serve("own:Front", "--service-name", "Front")
    third = graph.serve("own:Middle", "--service-name", "Middle")
    second.wait_ready()
    third.wait_ready()
    assert "joins the embedded planes" in second.log
    assert "@" in seen(graph)
    first.stop(signal.SIGKILL)
    eventually(lambda: "hub.taken_over" in second.log + third.log, what="a new host")
    graph.serve("own:Back", "--service-name", "Back").wait_ready()
    eventually(lambda: seen(graph).startswith("A@"), what="answers over the new hub")


def test_a_taken_system_port_is_replaced_and_said(graph: Host) -> None:
    first = graph.serve("own:Idle").wait_ready()
    second = graph.serve("own:Idle", system_port=first.system_port)
    second.said(f"port {first.system_port} is taken; system port is")


def test_etcd_without_nats_is_said(graph: Host) -> None:
    serve = graph.serve("own:Idle", env={"ETCD_ENDPOINTS": "http://127.0.0.1:1"})
    serve.said("NATS_SERVER is not set: the bus stays embedded and reaches this host only")


def test_api_endpoints_answer_over_http(graph: Host) -> None:
    port = free_port()
    graph.serve("own:Door", "--port", str(port)).wait_ready()
    url = f"http://127.0.0.1:{port}"
    assert fetch(f"{url}/shout", {"text": "hi"}) == (200, '{"text":"HI"}')
    assert fetch(f"{url}/spell", {"text": "a"})[1] == 'data: {"text":"a"}\n\ndata: [DONE]\n\n'
    assert fetch(f"{url}/shout", {"txt": "hi"})[0] == 400
    assert fetch(f"{url}/other", {})[0] == 404


def test_a_serve_can_be_told_whom_to_join(graph: Host) -> None:
    first = graph.serve("own:Back", "--service-name", "Back").wait_ready()
    elsewhere = {"XDG_RUNTIME_DIR": str(graph.folder / "other")}
    socket = graph.folder / "tandem" / "dynamo.sock"
    second = graph.serve("own:Front", "--service-name", "Front", "--join", str(socket), env=elsewhere)
    third = graph.serve("own:Middle", "--service-name", "Middle", "--join", str(socket), env=elsewhere)
    second.wait_ready()
    third.wait_ready()
    assert "@" in seen(graph)
    assert "hosts the embedded planes" in first.log
    assert "the embedded planes" not in second.log + third.log


def test_a_dependency_may_run_in_another_namespace(graph: Host) -> None:
    socket = graph.folder / "tandem" / "dynamo.sock"
    serve = graph.serve("own:Front", "--depends", "Back=elsewhere/Back")
    eventually(lambda: "Unavailable" in seen(graph), what="nobody in the other namespace yet")
    there = '--Back.ServiceArgs={"dynamo": {"namespace": "elsewhere"}}'
    graph.serve("own:Back", "--join", str(socket), there).wait_ready()
    serve.wait_ready()
    assert seen(graph).startswith("A@")
    assert [process["name"] for process in serve.status()["processes"]] == ["Front"]
