"""vLLM's AsyncLLM alone in a process, as the thing to compare with: prompts on stdin, timings on stdout, as JSON lines.

python -m bench.baseline MODEL '{"block_size": 32, …}'
"""

import asyncio
import itertools
import json
import os
import sys
import time
from typing import Any

from tandem.engines.vllm.process import THREADS_VARIABLE, threads_per_engine


async def _complete(engine: Any, prompt: list[int], max_tokens: int, number: int) -> dict[str, Any]:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    params = SamplingParams(max_tokens=max_tokens, temperature=0, ignore_eos=True, output_kind=RequestOutputKind.DELTA)
    sent = time.perf_counter()
    times = []
    async for output in engine.generate({"prompt_token_ids": prompt}, params, f"bench-{number}"):
        if output.outputs[0].token_ids:
            times.append(time.perf_counter())
    return {"ttft_s": times[0] - sent, "gaps_s": [b - a for a, b in itertools.pairwise(times)]}


async def main(model: str, engine_args: dict[str, Any]) -> None:
    """Serve stdin until it ends."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    engine = AsyncLLM.from_engine_args(AsyncEngineArgs(model=model, **engine_args))
    loop = asyncio.get_running_loop()
    print(json.dumps({"ready": True}), flush=True)
    number = 0
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        asked = json.loads(line)
        number += 1
        print(json.dumps(await _complete(engine, asked["prompt"], asked["max_tokens"], number)), flush=True)
    engine.shutdown()


if __name__ == "__main__":
    os.environ.setdefault(THREADS_VARIABLE, str(threads_per_engine(len(os.sched_getaffinity(0)))))  # as ours has
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
    os._exit(0)
