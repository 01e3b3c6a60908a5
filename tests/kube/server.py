"""A control plane of our own from the binaries in KUBEBUILDER_ASSETS: etcd, API server, controller manager."""

import base64
import os
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

CONTROLLERS = (
    "deployment,replicaset,statefulset,garbagecollector,endpoint,namespace,serviceaccount,serviceaccount-token,"
    "horizontalpodautoscaling"
)


@contextmanager
def control_plane(assets: Path, folder: Path) -> Iterator[Path]:
    """Starts the three on free ports; yields a kubeconfig."""
    client, peer, secure = _ports(3)
    token = secrets.token_hex(16)
    _certificates(folder)
    (folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
    (folder / "tokens.csv").chmod(0o600)
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(_kubeconfig(secure, token, (folder / "server.crt").read_bytes()))
    etcd = str(assets / "etcd") if (assets / "etcd").exists() else shutil.which("etcd") or "etcd"
    with ExitStack() as stack:
        start = _starter(stack, folder)
        urls = [f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"]
        start(
            etcd,
            *("--data-dir", str(folder / "etcd"), "--log-level", "error", "--unsafe-no-fsync"),
            *("--listen-client-urls", urls[0], "--advertise-client-urls", urls[0]),
            *("--listen-peer-urls", urls[1], "--initial-advertise-peer-urls", urls[1]),
            *("--initial-cluster", f"default={urls[1]}"),
        )
        start(
            str(assets / "kube-apiserver"),
            *("--etcd-servers", urls[0], "--bind-address", "127.0.0.1", "--secure-port", str(secure)),
            *("--advertise-address", "127.0.0.1", "--endpoint-reconciler-type", "none"),
            *("--tls-cert-file", str(folder / "server.crt"), "--tls-private-key-file", str(folder / "server.key")),
            *("--token-auth-file", str(folder / "tokens.csv"), "--authorization-mode", "RBAC"),
            *("--service-account-key-file", str(folder / "server.key"), "--service-cluster-ip-range", "10.96.0.0/16"),
            *("--service-account-signing-key-file", str(folder / "server.key")),
            *("--service-account-issuer", "https://kubernetes.default.svc"),
        )
        server = f"https://127.0.0.1:{secure}"
        _await(f"{server}/readyz", token, folder)
        if (assets / "kube-controller-manager").exists():
            start(
                str(assets / "kube-controller-manager"),
                *("--kubeconfig", str(kubeconfig), "--leader-elect=false", "--controllers", CONTROLLERS),
                *("--service-account-private-key-file", str(folder / "server.key")),
                *("--horizontal-pod-autoscaler-sync-period", "2s"),
                *("--kube-api-qps", "200", "--kube-api-burst", "300"),
                *("--root-ca-file", str(folder / "server.crt"), "--bind-address", "127.0.0.1", "--secure-port", "0"),
                *_no_open_port(assets / "kube-controller-manager"),
            )
            _await(f"{server}/api/v1/namespaces/default/serviceaccounts/default", token, folder)
        yield kubeconfig


def _no_open_port(binary: Path) -> tuple[str, ...]:
    """Releases before 1.24 also listen on one fixed port of all addresses: two could not run beside each other."""
    told = subprocess.run([binary, "--help"], capture_output=True, text=True, check=False).stdout
    return ("--port", "0") if re.search(r"--port (int|string) ", told) else ()


def _starter(stack: ExitStack, folder: Path):  # type: ignore[no-untyped-def]
    def start(*command: str) -> None:
        log = stack.enter_context((folder / f"{Path(command[0]).name}.log").open("wb"))
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder)

        def stop() -> None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

        stack.callback(stop)

    return start


def _certificates(folder: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=kube-apiserver"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", "server.key", "-out", "server.crt"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def _kubeconfig(port: int, token: str, authority: bytes) -> str:
    data = base64.b64encode(authority).decode()
    cluster = f'{{server: "https://127.0.0.1:{port}", certificate-authority-data: {data}}}'
    return "\n".join(
        [
            "{apiVersion: v1, kind: Config, current-context: t,",
            f"clusters: [{{name: t, cluster: {cluster}}}],",
            f"users: [{{name: t, user: {{token: {token}}}}}],",
            "contexts: [{name: t, context: {cluster: t, user: t, namespace: default}}]}",
        ]
    )


def _await(url: str, token: str, folder: Path, limit_s: float = 60) -> None:
    end = time.monotonic() + limit_s
    trust = ssl.create_default_context(cafile=folder / "server.crt")
    with httpx.Client(verify=trust, headers={"Authorization": f"Bearer {token}"}) as client:
        while time.monotonic() < end:
            try:
                if client.get(url).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)
    raise TimeoutError(f"{url} did not answer in {limit_s} s; logs are in {folder}, started by pid {os.getpid()}")


def _ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
