"""A metrics adapter of a few lines: external.metrics.k8s.io/v1beta1 over HTTPS, with figures that a test sets.

The API server reaches it through an APIService whose Service is an ExternalName, since Endpoints may not be loopback.
"""

import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web
from tests.kube.cluster import until
from tests.servers import free_port

from tandem.operator.api import Api, ApiError

GROUP = "external.metrics.k8s.io"
ROOT = f"/apis/{GROUP}/v1beta1"


class ExternalMetrics:
    """What it answers, and what it was asked."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.asked: list[tuple[str, str, str]] = []
        """(namespace, metric, label selector)."""

    async def resources(self, request: web.Request) -> web.Response:
        names = [
            {"name": name, "namespaced": True, "kind": "ExternalMetricValueList", "verbs": ["get"], "singularName": ""}
            for name in self.values
        ]
        return web.json_response(
            {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/v1beta1", "resources": names}
        )

    async def value(self, request: web.Request) -> web.Response:
        namespace, metric = request.match_info["namespace"], request.match_info["metric"]
        self.asked.append((namespace, metric, request.query.get("labelSelector", "")))
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        item = {"metricName": metric, "metricLabels": {}, "timestamp": now, "value": self.values[metric]}
        kind = {"kind": "ExternalMetricValueList", "apiVersion": f"{GROUP}/v1beta1", "metadata": {}}
        return web.json_response({**kind, "items": [item]})


@asynccontextmanager
async def external_metrics(api: Api, namespace: str, folder: Path) -> AsyncIterator[ExternalMetrics]:
    """Serve, and register with the API server until the end."""
    found, port = ExternalMetrics(), free_port()
    app = web.Application()
    app.router.add_get(ROOT, found.resources)
    app.router.add_get(f"{ROOT}/namespaces/{{namespace}}/{{metric}}", found.value)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=_tls(folder)).start()
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "test-metrics", "namespace": namespace},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port, "protocol": "TCP"}]},
    }
    registration = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"v1beta1.{GROUP}"},
        "spec": {
            "group": GROUP,
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"name": "test-metrics", "namespace": namespace, "port": port},
        },
    }
    made: dict[str, Any] = {
        f"/api/v1/namespaces/{namespace}/services": service,
        "/apis/apiregistration.k8s.io/v1/apiservices": registration,
    }
    for path, body in made.items():
        await api.create(path, body)
    await until(lambda: _answers(api), limit_s=30)
    try:
        yield found
    finally:
        for path, body in reversed(made.items()):
            await api.request("DELETE", f"{path}/{body['metadata']['name']}")
        await runner.cleanup()


async def _answers(api: Api) -> bool:
    try:
        await api.text(ROOT)
    except ApiError:
        return False
    return True


def _tls(folder: Path) -> ssl.SSLContext:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", "m.key", "-out", "m.crt"], cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "m.crt", folder / "m.key")
    return context
