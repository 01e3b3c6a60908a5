"""Command lines: exit statuses, what goes to which stream, and the dry run of the guide's commands."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tandem.cli import demo, main, status, trace
from tandem.errors import ConfigError
from tandem.graph.declare import forget_links

EXAMPLES = Path(__file__).parents[2] / "examples" / "llm"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("TANDEM_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("DYN_DEPLOYMENT_CONFIG", raising=False)
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("components", "graphs")]:
        del sys.modules[name]
    forget_links()


def run(*words: str) -> int:
    return main.main(list(words))


def test_no_command_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 2
    assert "usage: tandem COMMAND" in capsys.readouterr().out


def test_an_unknown_command_names_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("sevre") == 2
    assert "choose from serve, demo, status, trace, config" in capsys.readouterr().err


@pytest.mark.parametrize("command", main.COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(command, "--help")
    assert ended.value.code == 0
    assert f"usage: tandem {command}" in capsys.readouterr().out


def test_help_is_there_at_once() -> None:
    code = "import sys, tandem.cli.main as m; m.main(['--help']); sys.exit('asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


def dry_run(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """The blocks of a dry run, by their headings."""
    assert run("serve", *words, "--working-dir", str(EXAMPLES), "--dry-run") == 0
    printed = capsys.readouterr()
    blocks: dict[str, Any] = {"notices": printed.err.splitlines()}
    for block in printed.out.split("\n\n"):
        heading, _, rest = block.partition("\n")
        blocks[heading.rstrip(":")] = rest
    return blocks


def test_a_dry_run_prints_the_guides_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = dry_run(capsys, "graphs.pd_disagg:Frontend", "-f", "./configs/qwen3.yaml")
    document = json.loads(blocks["Service Configuration"])
    variable = blocks["Environment Variable that would be set"]
    assert variable.startswith("DYNAMO_SERVICE_CONFIG=")
    assert json.loads(variable.partition("=")[2]) == document
    assert document["VllmWorker"]["conditional-disagg"] is False
    assert document["Common"]["kv-transfer-config"] == '{"kv_connector":"DynamoNixlConnector"}'
    assert blocks["Arguments by service"].splitlines() == [
        "Router",
        "Processor: --model ../../models/tiny-qwen3 --router round-robin",
        "Frontend: --served_model_name qwen --endpoint dynamo.Processor.chat/completions --port 8000",
    ]
    assert blocks["Processes"] == "Frontend: Router + Processor + Frontend (fork)\n"
    assert blocks["notices"] == [
        "tandem serve: ./configs/qwen3.yaml: PrefillWorker takes gpu-memory-utilization from Common, "
        "which does not have it; its own value is used"
    ]


def test_overrides_reach_the_configuration_and_a_worker_alone_is_planned(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = dry_run(
        capsys, "components.worker:VllmWorker", "-f", "configs/qwen3.yaml", "--service-name", "VllmWorker",
        "--VllmWorker.ServiceArgs.workers=2", "--VllmWorker.remote_prefill", "false",
    )  # fmt: skip
    document = json.loads(blocks["Service Configuration"])
    assert document["VllmWorker"]["ServiceArgs"]["workers"] == 2
    assert document["VllmWorker"]["remote-prefill"] is False
    assert blocks["Processes"] == "VllmWorker.0: VllmWorker (fork)\nVllmWorker.1: VllmWorker (fork)\n"
    assert any("no GPU on this host" in notice for notice in blocks["notices"])


def test_a_file_can_be_named_by_its_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert dry_run(capsys, "graphs/agg.py:Frontend", "-f", "configs/agg.yaml")["Processes"].startswith("Frontend:")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["graphs.nothing:Frontend"], "no module 'graphs.nothing'"),
        (["graphs.agg:Nobody"], "its services are Frontend, Processor, VllmWorker"),
        (["graphs.agg"], "names no service"),
        (["nowhere.py:Frontend"], "no file"),
        (["graphs.agg:Frontend", "-f", "absent.yaml"], "cannot read absent.yaml: No such file or directory\n"),
        (["graphs.agg:Frontend", "--Frontend.port"], "--Frontend.port: a value can not start with"),
        (["graphs.agg:Frontend", "--depends", "x"], "write name=value"),
        (["graphs.agg:Frontend", "--Frontend.port=70000"], "port 70000 is not between"),
        (
            ["graphs.agg:Frontend", "-f", "configs/agg.yaml", "--Processor.router=least-load"],
            "Processor: router: router 'least-load' is not known; did you mean 'least-loaded'? (kv, least-loaded",
        ),
        (
            ["graphs.agg:Frontend", "-f", "configs/agg.yaml", "-p", "9347"],
            "Frontend.port and Supervisor.system-port are",
        ),
        (
            ["graphs.agg:Frontend", "-f", "configs/agg.yaml", "-p", "81", "--system-port", "81"],
            "are both 81: give one of them another, by --port or --system-port",
        ),
    ],
)
def test_what_cannot_work_is_said_on_stderr_with_status_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("serve", *words, "--working-dir", str(EXAMPLES), "--dry-run") == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""


def test_an_unknown_flag_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("serve", "graphs.agg:Frontend", "--prot", "1")
    assert ended.value.code == 2


def test_config_show_tells_origins(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNAMO_RP_TIMEOUT", "61")
    words = ["graphs.disagg:Frontend", "-f", "configs/qwen3.yaml", "--working-dir", str(EXAMPLES), "-p", "8001"]
    assert run("config", "show", "--json", *words) == 0
    rows = {(row["section"], row["key"]): row for row in json.loads(capsys.readouterr().out)}
    assert rows["Frontend", "port"] | {"section": ""} == {
        "section": "", "key": "port", "value": 8001, "origin": "flag --port"
    }  # fmt: skip
    assert rows["VllmWorker", "prefill-timeout-s"]["origin"] == "environment DYNAMO_RP_TIMEOUT"
    assert rows["VllmWorker", "model"]["origin"] == "configs/qwen3.yaml: Common"
    assert rows["PrefillWorker", "block-size"]["value"] == 128


@pytest.mark.parametrize("words", [["status"], ["trace", "some-id"]])
def test_without_a_supervisor_there_is_nothing_to_ask(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    assert "no `tandem serve` of this user runs on this host" in capsys.readouterr().err


def test_status_of_an_address_that_is_no_system_port_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        where = f"127.0.0.1:{door.getsockname()[1]}"
        answering = threading.Thread(
            target=_answer, args=(door, b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        )
        answering.start()
        assert run("status", "--url", where) == 2
        answering.join()
    assert f"{where} is no system port of `tandem serve`; the usual one is 9347" in capsys.readouterr().err


def test_a_trace_asked_of_a_front_door_says_where_traces_are(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        where = f"127.0.0.1:{door.getsockname()[1]}"
        not_found = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
        live = b'HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n{"status":"live"}'
        answering = threading.Thread(target=_answer, args=(door, not_found, live))
        answering.start()
        assert run("trace", "some-id", "--url", where) == 2
        answering.join()
    said = f"tandem trace: {where} is no system port of `tandem serve`; the usual one is 9347\n"
    assert capsys.readouterr().err == said


def test_status_of_a_port_where_nobody_listens_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        where = f"127.0.0.1:{door.getsockname()[1]}"
    assert run("status", "--url", where) == 2
    assert capsys.readouterr().err == f"tandem status: {where} does not answer: Connection refused\n"


def _answer(door: socket.socket, *answers: bytes) -> None:
    for answer in answers:
        client, _ = door.accept()
        with client:
            client.recv(1 << 16)
            client.sendall(answer)


def test_status_has_a_row_per_process() -> None:
    process = {
        "name": "VllmWorker.0", "phase": "ready", "note": "", "restarts": 1,
        "services": {"VllmWorker": {"roles": ["decode"], "instance": "ab", "running": 2, "waiting": 0,
                                    "kv_blocks_used": 3, "kv_blocks_total": 9}},
    }  # fmt: skip
    front = {
        "name": "Frontend",
        "phase": "waiting",
        "note": "n",
        "restarts": 0,
        "services": {"Router": {}, "Frontend": {}},
    }
    assert list(status.rows({"processes": [process, front]})) == [
        ("VllmWorker.0", "ready", "decode", "ab", "2", "0", "3/9", "", "1", ""),
        ("Frontend", "waiting", "Router+Frontend", "", "", "", "", "", "0", "n"),
    ]


def test_a_trace_is_a_timeline() -> None:
    story = {
        "request_id": "r",
        "stages": [
            {"name": "accepted", "at": 10.0, "detail": {"model": "m", "none": None}},
            {"name": "prefill", "at": 10.25, "duration_s": 0.5, "instance": "ab"},
        ],
    }
    assert [line.split() for line in trace.timeline(story).splitlines()[1:]] == [
        ["AT", "MS", "TOOK", "MS", "STAGE", "INSTANCE", "DETAIL"],
        ["0.0", "accepted", "model=m"],
        ["250.0", "500.0", "prefill", "ab"],
    ]


def test_the_demo_refuses_a_busy_port_in_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="is in use by another program") as refused:
            demo.refuse_if_unable("127.0.0.1", taken.getsockname()[1], "simulated")
    assert "\n" not in str(refused.value)


def test_the_demo_looks_at_the_port_that_it_will_open(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tandem.graph.supervisor.serve", lambda launch: 0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run("demo", "--engine", "simulated", f"--port={port}", "--Frontend.port=0") == 0
        assert run("demo", "--engine", "simulated", "--port=0", f"--Frontend.port={port}") == 2
        assert run("demo", "--engine", "simulatd", f"--port={port}") == 2
    assert [line.partition("; ")[0] for line in capsys.readouterr().err.splitlines()] == [
        f"tandem demo: port {port} on 127.0.0.1 is in use by another program: stop it, or choose another with --port",
        "tandem demo: VllmWorker: engine 'simulatd' is not known",
        "tandem demo: PrefillWorker: engine 'simulatd' is not known",
    ]


@pytest.mark.parametrize("port", [-1, 65536])
def test_the_demo_refuses_a_port_that_cannot_be(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("demo", "--engine", "simulated", f"--port={port}") == 2
    assert capsys.readouterr().err == f"tandem demo: Frontend: port {port} is not between 0 and 65535\n"


def test_the_demo_refuses_too_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "available_memory", lambda: 1_000_000_000)
    with pytest.raises(ConfigError, match=r"needs 2.5 GB of free memory; 1.0 GB is free"):
        demo.refuse_if_unable("127.0.0.1", 0, "vllm")


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 8000000 kB\nMemAvailable:    4000000 kB\n")
    for name, text in {
        "memory.max": "1000000000\n",
        "memory.current": "900000000",
        "memory.stat": "inactive_file 5\n",
    }.items():
        (tmp_path / name).write_text(text)
    assert demo.available_memory(meminfo, tmp_path) == 100_000_005
    (tmp_path / "memory.max").write_text("max\n")
    assert demo.available_memory(meminfo, tmp_path) == 4_096_000_000


def test_a_half_pulled_model_is_not_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "half"
    (model / ".tandem-pull").mkdir(parents=True)
    config = tmp_path / "config.yaml"
    config.write_text(f"PrefillWorker:\n  model: {model}\n  engine: simulated\n")
    status = run("serve", "components.prefill_worker:PrefillWorker", "-f", str(config), "--working-dir", str(EXAMPLES))
    assert status == 2
    assert "is half a model: its pull was not finished" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("engine", "model", "refused"),
    [
        ("simulated", "../../models/tiny-qwn3", True),
        ("simulated", "tiny-qwn3", True),
        ("vllm", "/no/such/model", True),
        ("vllm", "models/by/mistake", True),
        ("vllm", "Qwen/Qwen3-0.6B", False),
        ("simulated", "../../models/tiny-qwen3", False),
    ],
)
def test_a_model_folder_that_is_not_there_is_told_with_its_line(
    engine: str, model: str, refused: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"PrefillWorker:\n  engine: {engine}\n  model: {model}\n")
    words = ["components.prefill_worker:PrefillWorker", "-f", str(config), "--working-dir", str(EXAMPLES)]
    assert run("serve", *words, "--dry-run") == 0, "it may serve on another machine"
    said = f"{config}, line 3: PrefillWorker: model = {model!r}: there is no folder {EXAMPLES / model}; name a"
    assert (said in capsys.readouterr().err) == refused
    if refused:
        assert run("serve", *words) == 2
        assert said in capsys.readouterr().err
