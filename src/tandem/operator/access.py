"""Where the API server is and how to log in: the pod's service account, else a kubeconfig."""

import asyncio
import base64
import json
import os
import ssl
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tandem.core.paths import at
from tandem.core.userinfo import is_http_address, shown
from tandem.errors import ConfigError

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TOKEN_READ_AGAIN_S = 60.0
"""Service account tokens are replaced on disk before they expire."""


@dataclass(slots=True, kw_only=True)
class Access:
    """A server and its credentials. `token` is asked before each request, since tokens expire."""

    server: str
    namespace: str = "default"
    ca_pem: str | None = None
    verify: bool = True
    client_cert_pem: str | None = None
    client_key_pem: str | None = None
    static_token: str | None = None
    token_file: Path | None = None
    exec_spec: Mapping[str, Any] | None = None
    _cached: tuple[str, float] | None = field(default=None, repr=False)

    async def token(self) -> str | None:
        """The bearer token to send, if this access has one."""
        if self._cached is not None and time.monotonic() < self._cached[1]:
            return self._cached[0]
        if self.token_file is not None:
            try:
                found = self.token_file.read_text().strip()
            except OSError as error:
                raise ConfigError(f"the token {self.token_file} cannot be read: {error.strerror}") from error
            self._cached = (found, time.monotonic() + _TOKEN_READ_AGAIN_S)
            return found
        if self.exec_spec is not None:
            found = await _run_plugin(self.exec_spec)
            self._cached = (found, time.monotonic() + _TOKEN_READ_AGAIN_S)
            return found
        return self.static_token

    def ssl_context(self) -> ssl.SSLContext | bool:
        """For an HTTPS client; the key never stays on disk."""
        if not self.server.startswith("https"):
            return False
        try:
            context = ssl.create_default_context(cadata=self.ca_pem)
            if not self.verify:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if self.client_cert_pem and self.client_key_pem:
                with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
                    file.write(self.client_cert_pem + "\n" + self.client_key_pem)
                    file.flush()
                    context.load_cert_chain(file.name)
        except ssl.SSLError as error:
            raise ConfigError(f"a certificate or key for {self.server} is none: {error}") from error
        return context


def find_access(environ: Mapping[str, str], *, kubeconfig: str | None = None, context: str | None = None) -> Access:
    """The kubeconfig that is named, else the pod's account, else ~/.kube/config.

    Raises:
        ConfigError: there is none, or it cannot be read.
    """
    named = kubeconfig or environ.get("KUBECONFIG")
    if not named and "KUBERNETES_SERVICE_HOST" in environ and (_ACCOUNT / "token").exists():
        host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
        host = f"[{host}]" if ":" in host else host
        return Access(
            server=f"https://{host}:{port}",
            namespace=(_ACCOUNT / "namespace").read_text().strip(),
            ca_pem=(_ACCOUNT / "ca.crt").read_text(),
            token_file=_ACCOUNT / "token",
        )
    path = Path((named or "~/.kube/config").split(os.pathsep)[0]).expanduser()
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"no Kubernetes to talk to: {path}: {error.strerror}; set KUBECONFIG") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no kubeconfig: {' '.join(str(error).split())}") from error
    try:
        return read_kubeconfig(document, context=context, base=path.parent)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} is no kubeconfig: {type(error).__name__}: {error}") from error


def read_kubeconfig(document: Any, *, context: str | None, base: Path) -> Access:
    """One context of a kubeconfig.

    Raises:
        ConfigError: the context, its cluster or its user is missing, or the server is no address.
    """
    chosen = context or at(document, "current-context")
    spec = _named(document, "contexts", "context", chosen)
    cluster = _named(document, "clusters", "cluster", spec.get("cluster"))
    user = _named(document, "users", "user", spec.get("user")) if spec.get("user") else {}
    server = str(cluster.get("server") or "").rstrip("/")
    if not is_http_address(server):
        told = f"cluster {spec.get('cluster')!r} has server {shown(server)!r}"
        raise ConfigError(f"kubeconfig: {told}; write https://HOST:PORT")
    return Access(
        server=server,
        namespace=spec.get("namespace") or "default",
        ca_pem=_pem(cluster, "certificate-authority", base),
        verify=not cluster.get("insecure-skip-tls-verify", False),
        client_cert_pem=_pem(user, "client-certificate", base),
        client_key_pem=_pem(user, "client-key", base),
        static_token=user.get("token"),
        token_file=base / user["tokenFile"] if user.get("tokenFile") else None,
        exec_spec=user.get("exec"),
    )


def _named(document: Any, list_key: str, key: str, name: Any) -> dict[str, Any]:
    for item in at(document, list_key, default=[]):
        if item.get("name") == name:
            return dict(item.get(key) or {})
    raise ConfigError(f"kubeconfig has no {key} {name!r}")


def _pem(spec: Mapping[str, Any], key: str, base: Path) -> str | None:
    try:
        if data := spec.get(f"{key}-data"):
            return base64.b64decode(data).decode()
        return (base / spec[key]).read_text() if spec.get(key) else None
    except (OSError, ValueError) as error:
        raise ConfigError(f"kubeconfig: {key} cannot be read: {error}") from error


async def _run_plugin(spec: Mapping[str, Any]) -> str:
    """A credential plugin, as cloud providers ship them (client.authentication.k8s.io)."""
    env = {item["name"]: item["value"] for item in spec.get("env") or []}
    info = {"apiVersion": spec["apiVersion"], "kind": "ExecCredential", "spec": {"interactive": False}}
    try:
        process = await asyncio.create_subprocess_exec(
            spec["command"],
            *(spec.get("args") or []),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **env, "KUBERNETES_EXEC_INFO": json.dumps(info)},
        )
    except OSError as error:
        raise ConfigError(f"credential plugin {spec['command']} cannot be run: {error.strerror}") from error
    out, _ = await process.communicate()
    try:
        token = at(json.loads(out or b"{}"), "status", "token")
    except ValueError:
        token = None
    if process.returncode or not isinstance(token, str):
        raise ConfigError(f"credential plugin {spec['command']} gave no token (exit status {process.returncode})")
    return token
