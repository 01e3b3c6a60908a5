"""Asks for files and batches with OpenAI's client."""

import asyncio
import json
from typing import Any

from openai import AsyncOpenAI
from tests.frontend.conftest import Door

CHAT: Any = "/v1/chat/completions"


def client(door: Door, api_key: str = "none") -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{door.url}/v1", api_key=api_key, max_retries=0, timeout=10)


def chat(custom_id: str, text: str = "Hi", **fields: Any) -> dict[str, Any]:
    body = {"model": "tiny", "messages": [{"role": "user", "content": text}], "max_tokens": 20, **fields}
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body}


def jsonl(*lines: Any) -> bytes:
    return b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)


async def started(ask: AsyncOpenAI, *lines: Any, endpoint: Any = CHAT, **fields: Any) -> Any:
    file = await ask.files.create(file=("in.jsonl", jsonl(*lines)), purpose="batch")
    return await ask.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", **fields)


async def ended(ask: AsyncOpenAI, batch: Any) -> Any:
    async with asyncio.timeout(10):
        while batch.status not in ("completed", "failed", "expired", "cancelled"):
            await asyncio.sleep(0.02)
            batch = await ask.batches.retrieve(batch.id)
    return batch


async def lines_of(ask: AsyncOpenAI, file_id: str | None) -> dict[str, Any]:
    assert file_id is not None
    text = (await ask.files.content(file_id)).text
    found = [json.loads(line) for line in text.splitlines()]
    assert len({line["custom_id"] for line in found}) == len(found)
    return {line["custom_id"]: line for line in found}


async def until(happened: Any) -> None:
    async with asyncio.timeout(5):
        while not happened():
            await asyncio.sleep(0.01)
