"""Real vLLM beyond the contract: its settings, its processes, and what they leave behind."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.adapters import make_adapter

from tandem.engines.vllm.home import EngineHome

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(180),
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]

MODEL = str(Path(__file__).parents[2] / "models" / "tiny-qwen3")

_ZYGOTE = """
import asyncio, dataclasses, json, os, sys
import msgspec
from tandem.engines.vllm.process import preload
preload()
threads = len(os.listdir("/proc/self/task"))
sys.path.insert(0, sys.argv[1])
from tests.contracts.engine_contract import a_prompt, a_request, answer_of
from tandem.core.request import Grammar
from tandem.engines.ports import EngineSpec
from tandem.engines.vllm.engine import VllmEngine
from tandem.engines.vllm.args import engine_args, parse
from tandem.engines.vllm.keys import VLLM_KEYS

def spec(roles=("prefill", "decode"), adapters={}, **args):
    args = {"block_size": 32, "max_model_len": 512, "kv_cache_memory_bytes": 16 << 20, **args}
    return EngineSpec(model_path=sys.argv[2], served_model_name="m", roles=roles, engine_args=args, adapters=adapters)

def say(**found):
    print(json.dumps(found), flush=True)

for line in sys.stdin:
    child = os.fork()
    if not child:
        exec(json.loads(line))
        os._exit(0)
    os.waitpid(child, 0)
"""


class Zygote:
    """A process that has imported vLLM once and runs each test's body in a fork of itself, as a supervisor's does."""

    def __init__(self) -> None:
        root = str(Path(__file__).parents[2])
        command = [sys.executable, "-c", _ZYGOTE, root, MODEL]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, body: str) -> dict[str, Any]:
        """What `body` says first."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(body) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "it ended without a word"
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        self._process.communicate(timeout=10)


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    process = Zygote()
    yield process
    process.close()


def test_the_key_table_is_that_of_the_installed_vllm_and_the_guides_settings_parse(zygote: Zygote) -> None:
    body = """
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.utils.argparse_utils import FlexibleArgumentParser
actions = AsyncEngineArgs.add_cli_args(FlexibleArgumentParser())._actions
keys = {action.dest for action in actions} - {"help"}
guide = spec(kv_transfer_config='{"kv_connector":"DynamoNixlConnector"}', block_size="128",
             max_num_batched_tokens=2048, disable_log_requests=True, gpu_memory_utilization=0.95,
             tensor_parallel_size=1, enable_chunked_prefill=False, enable_prefix_caching="true",
             hf_overrides={"a": 1}, scheduling_policy="priority")
parsed = parse(engine_args(guide, cpu=True, engine_id="e"))
wrong = {}
for key, value in {"block_size": "many", "dtype": "float1"}.items():
    try:
        parse(engine_args(spec(**{key: value}), cpu=True, engine_id="e")).create_engine_config()
    except Exception as error:
        wrong[key] = f"{type(error).__name__}: {error}"
say(missing=sorted(keys - VLLM_KEYS), gone=sorted(VLLM_KEYS - keys), block_size=parsed.block_size, threads=threads,
    chunked=parsed.enable_chunked_prefill, connector=parsed.kv_transfer_config.kv_connector, wrong=wrong)
"""
    found = zygote.run(body)
    assert (found["missing"], found["gone"]) == ([], []), "paste these into engines/vllm/keys.py"
    assert found["block_size"] == 128
    assert found["chunked"] is False
    assert found["connector"] == "NixlConnector"
    assert found["wrong"]["block_size"].startswith("ConfigError: vLLM refuses")
    assert found["wrong"]["dtype"].startswith("ConfigError: vLLM refuses")
    assert found["threads"] == 1, "a zygote must be single-threaded"


def test_an_engine_serves_grammars_and_leaves_nothing_behind(zygote: Zygote) -> None:
    before = {folder: set(os.listdir(folder)) for folder in ("/dev/shm", tempfile.gettempdir())}
    body = """
async def main():
    engine = VllmEngine(spec(roles=()))
    facts = await engine.load()
    grammar = Grammar(kind="choice", value='["yes", "no"]')
    answer = await answer_of(engine.generate(a_request(a_prompt(20), max_tokens=8, grammar=grammar)))
    try:
        await answer_of(engine.generate(a_request(a_prompt(20), grammar=Grammar(kind="json_schema", value="{no"))))
        refused = ""
    except Exception as error:
        refused = type(error).__name__
    home, pids = engine._engine.home.path, engine.process_ids
    from tandem.observe import metrics
    lines = metrics.render("")[0].decode().splitlines()
    names = [line for line in lines if line.startswith("vllm:") and 'model_name="m"' in line]
    await engine.aclose()
    await engine.aclose()
    say(tokens=answer.tokens, stop=answer.last.finish_reason, refused=refused, home=os.path.exists(home), pids=pids,
        side_channel=facts.side_channel, tasks=len(asyncio.all_tasks()), names=names)
asyncio.run(main())
"""
    found = zygote.run(body)
    assert found["stop"] == "stop"
    for name in ("num_requests_waiting{", "kv_cache_usage_perc{", "time_to_first_token_seconds_bucket{"):
        assert any(line.startswith(f"vllm:{name}") for line in found["names"]), "dashboards look for it"
    assert found["refused"] == "RequestError"
    assert found["side_channel"] == ""
    assert found["home"] is False
    assert found["tasks"] == 1
    assert not any(psutil.pid_exists(pid) for pid in found["pids"])
    for folder, names in before.items():
        new = set(os.listdir(folder)) - names
        assert not [name for name in new if "vllm" in name or "tandem-engine" in name], folder


def test_ranks_of_a_data_parallel_engine_are_chosen_and_tell_of_their_own_blocks(zygote: Zygote) -> None:
    body = """
async def main():
    engine = VllmEngine(spec(roles=(), data_parallel_size=2))
    facts = await engine.load()
    stored, cached = [], []
    async def follow():
        async for batch in engine.kv_events():
            stored.extend((batch.dp_rank, len(event.engine_block_hashes)) for event in batch.events)
    following = asyncio.create_task(follow())
    prompt = a_prompt(100)
    for rank in (1, 1, 0, 1):
        request = msgspec.structs.replace(a_request(prompt, max_tokens=2), dp_rank=rank)
        outputs = [output async for output in engine.generate(request)]
        cached.append(outputs[0].cached_tokens)
    while len(stored) < 2:
        await asyncio.sleep(0.05)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    say(ranks=facts.data_parallel_size, cached=cached, stored=stored)
    await engine.aclose()
asyncio.run(main())
"""
    found = zygote.run(body)
    assert found["ranks"] == 2
    assert found["cached"] == [0, 96, 0, 96], "a rank has its own cache, and the request's rank is obeyed"
    assert sorted(found["stored"]) == [[0, 3], [1, 3]]


def test_adapters_speak_for_themselves_and_keep_caches_of_their_own(zygote: Zygote, tmp_path: Path) -> None:
    folders = {name: str(make_adapter(tmp_path / name, Path(MODEL), seed=i)) for i, name in enumerate(("loud", "low"))}
    body = f"""
from tandem.kv.blocks import block_hashes, chain_root
from tandem.kv.ledger import BlockLedger

async def main():
    engine = VllmEngine(spec(roles=(), adapters={folders!r}, max_loras=2))
    facts = await engine.load()
    ledger, prompt = BlockLedger("m", 32), a_prompt(100)
    async def follow():
        async for batch in engine.kv_events():
            ledger.apply(batch)
    following = asyncio.create_task(follow())
    answers = []
    for name in (None, "loud", "low", None, "loud", "low"):
        request = msgspec.structs.replace(a_request(prompt, max_tokens=8), lora_name=name)
        answers.append(await answer_of(engine.generate(request)))
    try:
        await answer_of(engine.generate(msgspec.structs.replace(a_request(prompt), lora_name="lost")))
        refused = ""
    except Exception as error:
        refused = f"{{type(error).__name__}}: {{error}}"
    roots = [chain_root("m", lora_name=name) for name in (None, "loud", "low")]
    ours = {{name for root in roots for name in block_hashes(prompt, 32, root)}}
    while len(ledger) < 9:
        await asyncio.sleep(0.05)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    say(adapters=facts.adapters, cached=[answer.outputs[0].cached_tokens for answer in answers],
        tokens=[answer.tokens for answer in answers], refused=refused, named=set(ledger._names.values()) == ours)
    await engine.aclose()
asyncio.run(main())
"""
    found = zygote.run(body)
    assert found["adapters"] == folders
    assert found["cached"] == [0, 0, 0, 96, 96, 96]
    plain, loud, low = found["tokens"][:3]
    assert found["tokens"][3:] == [plain, loud, low]
    assert len({str(tokens) for tokens in (plain, loud, low)}) == 3
    assert found["refused"] == "RequestError: the adapter 'lost' is not loaded here"
    assert found["named"], "the router would look for other names than the worker tells"


def test_an_adapter_that_cannot_be_read_is_known_before_anybody_asks(zygote: Zygote, tmp_path: Path) -> None:
    body = f"""
async def main():
    engine = VllmEngine(spec(roles=(), adapters={{"gone": {str(tmp_path)!r}}}))
    try:
        await engine.load()
    except Exception as error:
        say(error=f"{{type(error).__name__}}: {{error}}")
    await engine.aclose()
asyncio.run(main())
"""
    assert zygote.run(body)["error"].startswith(f"ConfigError: the LoRA adapter gone in {tmp_path}: ")


def test_an_engine_dies_with_its_worker_also_on_sigkill(zygote: Zygote) -> None:
    body = """
async def main():
    engine = VllmEngine(spec())
    await engine.load()
    say(pids=engine.process_ids, worker=os.getpid(), home=engine._engine.home.path)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    found = zygote.run(body)
    pids = found["pids"]
    assert all(psutil.pid_exists(pid) for pid in pids)
    os.kill(found["worker"], signal.SIGKILL)
    assert os.path.exists(found["home"])
    end = time.monotonic() + 2
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids):
        assert time.monotonic() < end, "the engine outlived its worker"
        time.sleep(0.02)
    while os.path.exists(found["home"]):  # until the last of its threads has let go of the lock
        assert time.monotonic() < end, "the next engine sweeps up"
        EngineHome().remove()
        time.sleep(0.02)


def test_a_model_that_is_not_there_is_refused_at_once(zygote: Zygote) -> None:
    body = """
async def main():
    try:
        await VllmEngine(dataclasses.replace(spec(), model_path="/no/such/model")).load()
    except Exception as error:
        say(error=f"{type(error).__name__}: {error}")
asyncio.run(main())
"""
    assert zygote.run(body)["error"] == "ConfigError: there is no model folder /no/such/model"


def test_a_pooling_model_embeds_as_transformers_does_and_writes_nothing(zygote: Zygote) -> None:
    body = """
import struct
from tandem.core.embeddings import EmbedRequest
def reference(ids):
    import torch
    from transformers import AutoModel
    model = AutoModel.from_pretrained(sys.argv[2], dtype=torch.float32)
    with torch.no_grad():
        last = model(torch.tensor([ids])).last_hidden_state[0, -1]
    return torch.nn.functional.normalize(last, dim=0).tolist()

def error(task):
    return f"{type(task).__name__}: {task}"

async def main():
    try:
        await VllmEngine(spec(runner="pooling")).load()
        handing = ""
    except Exception as wrong:
        handing = error(wrong)
    engine = VllmEngine(spec(roles=(), runner="pooling"))
    await engine.load()
    prompts = [a_prompt(20), a_prompt(33)]
    prompts.append(prompts[0])
    made = await asyncio.gather(*(engine.embed(EmbedRequest(request_id=f"e{i}", token_ids=ids))
                                  for i, ids in enumerate(prompts)))
    vectors = [struct.unpack(f"<{len(one.vector) // 4}f", one.vector) for one in made]
    refused = []
    for work in (answer_of(engine.generate(a_request(a_prompt(20)))),
                 engine.embed(EmbedRequest(request_id="long", token_ids=a_prompt(513))),
                 engine.embed(EmbedRequest(request_id="dims", token_ids=a_prompt(20), dimensions=3))):
        try:
            await work
        except Exception as wrong:
            refused.append(error(wrong))
    embeds, active = engine.capabilities.embeds, len(engine._active)
    await engine.aclose()
    say(vectors=vectors, refused=refused, handing=handing, embeds=embeds, active=active,
        reference=[reference(ids) for ids in prompts[:2]])
asyncio.run(main())
"""
    found = zygote.run(body)
    assert (found["embeds"], found["active"]) == (True, 0)
    first, second, again = found["vectors"]
    for vector, reference in zip((first, second), found["reference"], strict=True):
        assert sum(a * b for a, b in zip(vector, reference, strict=True)) > 0.995
    assert sum(a * b for a, b in zip(first, again, strict=True)) > 0.9999
    assert sum(a * b for a, b in zip(first, second, strict=True)) < 0.99
    writes, long, dims = found["refused"]
    assert writes.startswith("RequestError: this model writes no text")
    assert long.startswith("ContextTooLong: an input has 513 tokens")
    assert dims.startswith("RequestError")
    assert found["handing"].startswith("ConfigError: an engine that embeds hands no KV over")
