"""The rendered configuration of NATS and etcd, on the real servers."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import nats
import pytest
from tests.deploy.builders import described, objects
from tests.servers import free_port


@pytest.fixture
def nats_url(tmp_path: Path) -> Iterator[str]:
    """The ConfigMap's file, with other ports and another folder only."""
    text = objects(described())["ConfigMap", "qwen-nats"]["data"]["nats.conf"]
    client, monitor = free_port(), free_port()
    text = text.replace("4222", str(client)).replace("8222", str(monitor)).replace("/data", str(tmp_path / "data"))
    (tmp_path / "nats.conf").write_text(text)
    env = {**os.environ, "POD_NAME": "qwen-nats-0", "NATS_USER": "tandem", "NATS_PASSWORD": "p0123456789abcdef"}
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            ["nats-server", "-c", str(tmp_path / "nats.conf")], env=env, stderr=log, stdout=log, cwd=tmp_path
        )
    try:
        yield f"127.0.0.1:{client} {monitor}"
    finally:
        server.terminate()
        server.wait(10)


@pytest.mark.process
async def test_nats_lets_nobody_in_without_the_password_and_keeps_streams_in_files(nats_url: str) -> None:
    address, monitor = nats_url.split()
    async with httpx.AsyncClient() as client:
        for _ in range(100):
            with contextlib.suppress(httpx.TransportError):
                if (await client.get(f"http://127.0.0.1:{monitor}/healthz")).status_code == 200:
                    break
            await asyncio.sleep(0.05)
        about: dict[str, Any] = (await client.get(f"http://127.0.0.1:{monitor}/jsz")).json()
    assert about["config"]["store_dir"].endswith("/data/jetstream")
    assert about["config"]["max_storage"] == (10 << 30) * 9 // 10
    assert b"Authorization Violation" in await greeted(address)
    link = await nats.connect(f"nats://tandem:p0123456789abcdef@{address}", allow_reconnect=False)
    info = await link.jetstream().add_stream(name="s", subjects=["s"])
    assert info.config.storage == "file"
    await link.close()


async def greeted(address: str) -> bytes:
    """What the server says to a client without a password, until it hangs up."""
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b'CONNECT {"verbose":false}\r\nPING\r\n')
    said = await reader.read()
    writer.close()
    await writer.wait_closed()
    return said


@pytest.mark.acceptance
async def test_three_etcd_members_find_each_other(tmp_path: Path) -> None:
    """The StatefulSet's environment as the kubelet fills it in; the pods' names become ports of this host."""
    found = objects(described())["StatefulSet", "qwen-etcd"]["spec"]
    [container] = found["template"]["spec"]["containers"]
    ports = {(index, port): free_port() for index in range(3) for port in (2379, 2380, 2381)}
    members = []
    for index in range(3):
        env = {"PATH": os.environ["PATH"], "ETCD_UNSAFE_NO_FSYNC": "true", "ETCD_LOG_LEVEL": "error"}
        env |= {"ETCD_HEARTBEAT_INTERVAL": "20", "ETCD_ELECTION_TIMEOUT": "200"}  # one host: it need not be patient
        for item in container["env"][1:]:
            value = item["value"].replace("$(POD_NAME)", f"qwen-etcd-{index}")
            for (other, port), real in ports.items():
                value = value.replace(f"qwen-etcd-{other}.qwen-etcd.default.svc:{port}", f"127.0.0.1:{real}")
                if other == index:
                    value = value.replace(f"0.0.0.0:{port}", f"127.0.0.1:{real}")
            env[item["name"]] = value.replace("/var/lib/etcd", str(tmp_path / str(index)))
        null = subprocess.DEVNULL
        members.append(await asyncio.create_subprocess_exec("etcd", env=env, stdout=null, stderr=null))
    try:
        async with httpx.AsyncClient() as client:
            for _ in range(200):
                with contextlib.suppress(httpx.TransportError):
                    answer = await client.get(f"http://127.0.0.1:{ports[2, 2381]}/health")
                    if answer.json()["health"] == "true":
                        break
                await asyncio.sleep(0.05)
            answer = await client.post(f"http://127.0.0.1:{ports[1, 2379]}/v3/cluster/member/list", json={})
        assert sorted(member["name"] for member in answer.json()["members"]) == [f"qwen-etcd-{i}" for i in range(3)]
    finally:
        for member in members:
            member.terminate()
        for member in members:
            await member.wait()
