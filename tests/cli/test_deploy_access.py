"""`tandem deploy` with a kubeconfig that is none, and with a server that is no Kubernetes."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.builders import EXAMPLES
from tests.models.hubs import Hub

from tandem.cli import main

FILE = str(EXAMPLES / "service.yaml")


def kubeconfig(server: Any = "http://127.0.0.1:1", **user: Any) -> dict[str, Any]:
    return {
        "clusters": [{"name": "a", "cluster": {"server": server}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "users": [{"name": "a", "user": {"token": "secret-token", **user}}],
        "current-context": "a",
    }


def deploy(verb: str, path: Path, text: str) -> int:
    path.write_text(text)
    return main.main(["deploy", verb, "-f", FILE, "--kubeconfig", str(path), *["--yes"] * (verb == "delete")])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{nope", "is no kubeconfig: "),
        ("- a", "kubeconfig has no context"),
        ("", "kubeconfig has no context"),
        (
            yaml.safe_dump(kubeconfig("nowhere")),
            "kubeconfig: cluster 'a' has server 'nowhere'; write https://HOST:PORT",
        ),
        (yaml.safe_dump(kubeconfig("https://u:secret-token@h:0x")), "cluster 'a' has server 'https://h:0x'"),
        (yaml.safe_dump({**kubeconfig(), "clusters": [{"name": "a", "cluster": {}}]}), "cluster 'a' has server ''"),
        (yaml.safe_dump({**kubeconfig(), "users": ["a"]}), "is no kubeconfig"),
        (yaml.safe_dump(kubeconfig(**{"client-key": "gone.pem"})), "client-key cannot be read: [Errno 2] No such file"),
        (yaml.safe_dump(kubeconfig(**{"client-key-data": "AAA"})), "client-key cannot be read: Incorrect padding"),
    ],
)
def test_a_kubeconfig_that_is_none_is_one_sentence(
    text: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deploy("status", tmp_path / "config", text) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert sentence in told
    assert "secret-token" not in told


def test_a_credential_plugin_that_is_not_installed_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-plugin"}
    assert deploy("status", tmp_path / "config", yaml.safe_dump(kubeconfig(token=None, exec=plugin))) == 2
    assert "credential plugin no-such-plugin cannot be run: No such file" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["diff", "apply", "status", "delete"])
@pytest.mark.parametrize("text", ["<html>Sign in</html>", "[]", "{}", '{"minor": "", "resources": 5}'])
def test_a_server_that_is_no_kubernetes_is_one_sentence(
    text: str, verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = Hub({})
    hub.troubles.append(lambda request: request.text(text))
    status = deploy(verb, tmp_path / "config", yaml.safe_dump(kubeconfig(hub.url)))
    hub.close()
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == (
        f"tandem deploy: {hub.url} answers, but not as an API server does; "
        "look at the kubeconfig, and at a proxy on the way"
    )
    assert status == (2 if verb == "diff" else 1)
