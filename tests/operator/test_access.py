"""Kubeconfigs as people have them: what is wrong in one is a sentence, and servers may have a path."""

from pathlib import Path
from typing import Any

import pytest
from tests.operator.fake_server import FakeServer, serving

from tandem.errors import ConfigError
from tandem.operator.access import Access, read_kubeconfig
from tandem.operator.api import Api
from tandem.operator.types import Raw

SERVER = {"server": "https://127.0.0.1:1"}


def access(folder: Path, cluster: Raw, user: Raw | None = None) -> Access:
    document: Raw = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": cluster}],
        "users": [{"name": "u", "user": user or {}}],
    }
    return read_kubeconfig(document, context=None, base=folder)


@pytest.mark.parametrize(
    ("cluster", "user", "says"),
    [
        ({}, {}, r"cluster 'k' has server ''; write https://HOST:PORT"),
        ({"server": "127.0.0.1:1"}, {}, r"has server '127.0.0.1:1'; write"),
        ({**SERVER, "certificate-authority": "no.crt"}, {}, r"certificate-authority cannot be read: .*No such file"),
        ({**SERVER, "certificate-authority-data": "YWJj"}, {}, r"a certificate or key for https://127.0.0.1:1 is none"),
        (SERVER, {"client-key": "no.key"}, r"client-key cannot be read"),
        (SERVER, {"tokenFile": "no.token"}, r"no.token cannot be read: No such file"),
        (SERVER, {"exec": {"apiVersion": "v1", "command": "/no/plugin"}}, r"plugin /no/plugin cannot be run: No such"),
        (SERVER, {"exec": {"apiVersion": "v1", "command": "echo"}}, r"plugin echo gave no token"),
    ],
)
async def test_what_is_wrong_in_a_kubeconfig_is_said(tmp_path: Path, cluster: Any, user: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        async with Api(access(tmp_path, cluster, user)) as api:
            await api.get("Service", "default", "x")


async def test_a_server_may_have_a_path_of_its_own(tmp_path: Path) -> None:
    """As behind the gateways by which many clusters are reached at one host."""
    fake = FakeServer()
    fake.on("/k8s/clusters/one/api/v1/namespaces/default/services/x", (200, {"kind": "Service"}))
    fake.on("/k8s/clusters/one/api/v1/services?watch", [{"type": "ADDED", "object": {}}])
    async with serving(fake) as url, Api(access(tmp_path, {"server": f"{url}/k8s/clusters/one/"})) as api:
        assert await api.get("Service", "default", "x") == {"kind": "Service"}
        assert [event["type"] async for event in api.watch("/api/v1/services", {})] == ["ADDED"]
