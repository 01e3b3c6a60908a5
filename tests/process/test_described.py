"""What `tandem deploy` renders really serves: its commands, configuration, environment and password, as processes.

What a container adds is left out: files lie elsewhere, and names of Services are addresses of this host.
"""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from tests.deploy.builders import described, objects, pod_of
from tests.process.serving import MODEL, ROOT, Host, Serve, eventually, fetch, free_port
from tests.servers import EtcdServer, NatsServer

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

PASSWORD = "p0123456789abcdef"
FILE = "/etc/tandem/service/service.yaml"


class RenderedNats(NatsServer):
    """NATS with the ConfigMap's file."""

    def __init__(self, config: str) -> None:
        super().__init__()
        self._config, self._monitor = config, free_port()

    def command(self, data: Path) -> list[str]:
        text = self._config.replace("4222", str(self.port)).replace("8222", str(self._monitor))
        for name, value in (("/data", str(data)), ("$POD_NAME", "n"), ("$NATS_USER", "tandem")):
            text = text.replace(name, value)
        (data / "nats.conf").write_text(text.replace("$NATS_PASSWORD", PASSWORD))
        return ["nats-server", "-c", str(data / "nats.conf")]


async def test_the_rendered_service_answers_and_prefills_remotely(host: Host) -> None:
    cpu = {"gpus": 0}
    wish = described(
        model__path=str(MODEL),
        engine={"kind": "simulated", "settings": {"block-size": 32}},
        roles__decoder=cpu,
        roles__prefill=cpu,
        router={"mode": "kv"},
    )
    found, port = objects(wish), free_port()
    config = host.folder / "service.yaml"
    config.write_text(found["ConfigMap", "qwen-config"]["data"]["service.yaml"])
    layout = await asyncio.create_subprocess_exec("sh", ROOT / "deploy" / "layout.sh", host.folder / "workspace")
    assert await layout.wait() == 0
    etcd, nats = EtcdServer(), RenderedNats(found["ConfigMap", "qwen-nats"]["data"]["nats.conf"])
    await etcd.start()
    await nats.start()

    def start(role: str) -> Serve:
        """The pod's only container, with its Secret's values."""
        [container] = pod_of(found, role)["containers"]
        env = {item["name"]: item.get("value", "") for item in container["env"]}
        env |= {"ETCD_ENDPOINTS": etcd.url, "NATS_SERVER": nats.url, "NATS_AUTH_USERNAME": "tandem"}
        env |= {"NATS_AUTH_PASSWORD": PASSWORD, "HOME": str(host.folder), "TANDEM_RUNTIME_DIR": str(host.folder / role)}
        words = [part.replace(FILE, str(config)) for part in container["command"]]
        assert words[:3] == ["tini", "--", "tandem"]
        words += [f"--Frontend.port={port}"] if role == "processor" else []
        return host.run(*words[3:], cwd=host.folder / "workspace" / "examples" / "llm", env=env)

    serves = {role: start(role) for role in wish.every_role()}
    try:
        for serve in serves.values():
            serve.wait_ready(30)
        body = {"model": "qwen", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}

        def stages() -> list[str]:
            code, answer = fetch(f"http://127.0.0.1:{port}/v1/chat/completions", body)
            assert code == 200, answer
            story = json.loads(serves["processor"].get(f"/trace/{json.loads(answer)['id']}")[1])
            return [stage["name"] for stage in story["stages"]]

        eventually(lambda: "kv_pull" in stages(), what="a remotely prefilled answer")
        page = serves["decoder"].get("/metrics")[1]
        assert 'vllm:kv_cache_usage_perc{process="VllmWorker.0",engine="0",model_name="qwen"}' in page
        assert PASSWORD not in "".join(serve.log for serve in serves.values())
    finally:
        for serve in serves.values():
            serve.stop()
        await etcd.aclose()
        await nats.aclose()
        shutil.rmtree(host.folder / "workspace")
