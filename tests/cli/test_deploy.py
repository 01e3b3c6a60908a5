"""`tandem deploy`: what it shows, and how it ends when there is no cluster to talk to."""

import io
import json
from pathlib import Path

import pytest
from tests.deploy.builders import EXAMPLES
from tests.deploy.test_diagnosis import NO_GPU, look, node, pod

from tandem.cli import main
from tandem.cli.deploy_show import Progress, status_json, status_text
from tandem.deploy.diagnosis import diagnose

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
