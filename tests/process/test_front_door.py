"""The front door of a served graph: TLS, keys that change, quotas, and when it says how to ask."""

import ssl
from pathlib import Path

import httpx
import pytest
from tests.frontend.test_tls import Authority
from tests.process.serving import Host, eventually, free_port

from tandem.frontend.guard.keys import new_key

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]
HI = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8}


def test_a_guarded_door_from_the_command_line(host: Host) -> None:
    port, authority = free_port(), Authority(Path(host.folder), "authority")
    cert, key = host.folder / "tls.crt", host.folder / "tls.key"
    authority.issue(cert, key, "door")
    alice, bob = new_key("alice", {"requests-per-minute": 2}), new_key("bob")
    keys = host.write("keys.yaml", alice.line + "\n")
    settings = [
        f"--Frontend.api-keys-file={keys}",
        f"--Frontend.tls-cert={cert}",
        f"--Frontend.tls-key={key}",
        "--Frontend.max-n=2",
    ]
    serve = host.run("demo", "--engine", "simulated", "--port", str(port), *settings).wait_ready()
    trusted = ssl.create_default_context(cafile=str(authority.file))
    with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=trusted, timeout=20) as client:
        as_alice, as_bob = ({"authorization": f"Bearer {one.key}"} for one in (alice, bob))

        def post(headers: dict[str, str], **fields: object) -> httpx.Response:
            return client.post("/v1/chat/completions", json={**HI, **fields}, headers=headers)

        assert (client.get("/ready").status_code, post({}).status_code, post(as_bob).status_code) == (200, 401, 401)
        reply = post(as_alice)
        assert (reply.status_code, reply.headers["x-ratelimit-remaining-requests"]) == (200, "1")
        reply = post(as_alice, n=3)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "n")
        reply = post(as_alice)
        assert (reply.status_code, reply.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        keys.write_text(bob.line + "\n")
        eventually(lambda: post(as_bob).status_code == 200, 5)
        assert post(as_alice).status_code == 401
    assert alice.key not in serve.log
    assert bob.key not in serve.log
    assert serve.stop() == 0


def test_the_curl_line_comes_when_every_service_is_ready(host: Host) -> None:
    serve = host.run("demo", "--engine", "simulated", "--port", str(free_port()))
    eventually(lambda: "\ncurl http" in serve.log)
    before = serve.log.partition("\ncurl http")[0]
    for name in ("Frontend", "PrefillWorker.0", "PrefillWorker.1", "VllmWorker.0"):
        assert f"{name}: ready after" in before
