"""`tandem deploy`: what it shows, and how it ends when there is no cluster to talk to."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.deploy.builders import EXAMPLES, document
from tests.deploy.test_diagnosis import NO_GPU, look, node, pod
from tests.models.folders import model_files, written

from tandem.cli import main
from tandem.cli.deploy_cluster import KubeCluster
from tandem.cli.deploy_show import Progress, status_json, status_text
from tandem.deploy.diagnosis import diagnose
from tandem.operator.access import Access
from tandem.operator.api import Api

FILE = str(EXAMPLES / "service.yaml")
READY = pod("qwen-decoder-1", phase="Running", conditions=[{"type": "Ready", "status": "True"}])
SEEN = look(pods=[NO_GPU, READY], nodes=[node(0)])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_status_is_a_table_and_the_reasons() -> None:
    lines = status_text(SEEN, diagnose(SEEN)).splitlines()
    assert lines[0].split() == ["ROLE", "READY", "POD", "STATE"]
    assert lines[1].split() == ["decoder", "1/2", "qwen-decoder-0", "waiting", "for", "a", "node"]
    assert lines[2].split() == ["qwen-decoder-1", "ready"]
    assert lines[-1].startswith("pod qwen-decoder-0: no GPU node")
    told = json.loads(json.dumps(status_json(SEEN, diagnose(SEEN))))
    assert told["ready"] is False
    assert told["roles"][0]["pods"] == {"qwen-decoder-0": "waiting for a node", "qwen-decoder-1": "ready"}
    assert told["findings"][0]["about"] == "pod qwen-decoder-0"


def test_without_a_terminal_only_what_changed_is_said() -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress.show(SEEN)
        progress.show(SEEN)
        progress.show(look(pods=[READY, pod(phase="Running")]))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0] == "decoder 1/2"
    assert lines[1].startswith("pod qwen-decoder-0: no GPU node")


def test_on_a_terminal_the_table_stands_in_place() -> None:
    stream = Terminal()
    with Progress(stream) as progress:
        progress.show(SEEN)
    text = stream.getvalue()
    assert "waiting for a node" in text
    assert "no GPU node" in text


@pytest.mark.parametrize("verb", ["diff", "apply", "status", "delete"])
def test_without_a_kubeconfig_it_is_configuration(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert main.main(["deploy", verb, "-f", FILE]) == 2
    assert "set KUBECONFIG" in capsys.readouterr().err


def test_a_sum_that_cannot_come_out_is_told_before_the_cluster_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    (tmp_path / "service.yaml").write_text(Path(FILE).read_text().replace("80Gi", "32Gi"))
    assert main.main(["deploy", "apply", "-f", str(tmp_path / "service.yaml")]) == 2
    assert "do not fit 2 GPUs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"engine__settings": {"max-modle-len": 5}}, "unknown key 'max-modle-len'; did you mean 'max-model-len'?"),
        (
            {"roles__decoder__settings": {"gpu-memory-utilisation": 0.9}},
            "VllmWorker: unknown key 'gpu-memory-utilisation'; did you mean 'gpu-memory-utilization'?",
        ),
        (
            {"roles__prefill__settings": {"max-num-batched-tokenz": 9}},
            "PrefillWorker: unknown key 'max-num-batched-tokenz'; did you mean 'max-num-batched-tokens'?",
        ),
        ({"engine__prefill_timeout_s": -1}, "VllmWorker: prefill-timeout-s must be positive"),
        ({"router__settings": {"overlap-wieght": 2}}, "Router: unknown key 'overlap-wieght'; did you mean"),
        ({"front__settings": {"max-header-byte": 3}}, "Frontend: unknown key 'max-header-byte'; did you mean"),
    ],
)
def test_a_misspelt_setting_is_refused_as_serve_does(
    changes: dict[str, Any], fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "service.yaml").write_text(yaml.safe_dump(document(**changes)))
    assert main.main(["deploy", "render", "-f", str(tmp_path / "service.yaml")]) == 2
    told = capsys.readouterr()
    assert fault in told.err
    assert not told.out


def test_an_engine_or_a_router_that_is_not_known_here_may_be_in_the_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "service.yaml").write_text(yaml.safe_dump(document(engine__kind="vlm")))
    assert main.main(["deploy", "render", "-f", str(tmp_path / "service.yaml")]) == 0
    assert "engine 'vlm' is not known; did you mean 'vllm'?" in capsys.readouterr().err
    (tmp_path / "service.yaml").write_text(yaml.safe_dump(document(router__mode="kw")))
    assert main.main(["deploy", "render", "-f", str(tmp_path / "service.yaml")]) == 0
    assert "router 'kw' is not there; choose from kv, least-loaded" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("ftp://host/model", "ftp:// is no place that models come from; known are modelscope://"),
        ("oss://Bucket/model", "'Bucket' names no bucket"),
        ("file:///srv/model", "a folder of this machine is none of the pod's"),
    ],
)
def test_a_source_that_no_pull_takes_is_refused_before_a_job_tries_it(
    source: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = {"kind": "storage-class", "size": "9Gi", "source": source}
    (tmp_path / "service.yaml").write_text(yaml.safe_dump(document(model__storage=storage)))
    assert main.main(["deploy", "render", "-f", str(tmp_path / "service.yaml")]) == 2
    told = capsys.readouterr()
    assert not told.out
    assert f"service.yaml: model.storage.source: {why}" in told.err


def test_an_architecture_that_no_engine_takes_is_told_before_a_pod_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: body.replace(b"Qwen3ForCausalLM", b"FooForCausalLM") for name, body in model_files(0.1).items()}
    written(files, tmp_path / "model")
    (tmp_path / "service.yaml").write_text(yaml.safe_dump(document(model__folder="model")))
    assert main.main(["deploy", "render", "-f", str(tmp_path / "service.yaml")]) == 0
    assert "no engine here takes the architecture FooForCausalLM" in capsys.readouterr().err


@pytest.mark.parametrize("below", [".", "deeper"])
def test_files_are_not_written_over_a_file(below: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "manifests.yaml"
    file.write_text("mine")
    assert main.main(["deploy", "render", "-f", FILE, "-o", str(file / below)]) == 2
    assert "is a file, or lies below one: name a folder" in capsys.readouterr().err
    assert file.read_text() == "mine"


async def test_a_list_of_many_pages_is_read_to_its_end() -> None:
    items = [{"metadata": {"name": f"e{n}"}} for n in range(1200)]

    async def kinds(_: web.Request) -> web.Response:
        return web.json_response({"resources": [{"kind": "Event", "name": "events", "namespaced": True}]})

    async def events(request: web.Request) -> web.Response:
        begin, limit = int(request.query.get("continue", 0)), int(request.query["limit"])
        more = {"continue": str(begin + limit)} if begin + limit < len(items) else {}
        return web.json_response({"metadata": more, "items": items[begin : begin + limit]})

    app = web.Application()
    app.add_routes([web.get("/api/v1", kinds), web.get("/api/v1/namespaces/n/events", events)])
    async with TestServer(app) as server, Api(Access(server=str(server.make_url("/")))) as api:
        assert await KubeCluster(api).listed("v1", "Event", "n") == items


@pytest.mark.parametrize("value", ["-5", "0", "nan"])
def test_a_wait_takes_some_time(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["deploy", "apply", "-f", FILE, "--timeout", value]) == 2
    assert f"--timeout {value} must be a number of seconds above 0" in capsys.readouterr().err
