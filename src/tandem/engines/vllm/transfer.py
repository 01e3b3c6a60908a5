"""vLLM's KV transfer parameters, to and from our `Handoff`; and a look whether the peer is alive.

vLLM checks little of what it is given: missing keys hang a request, a longer prompt kills the engine, a
shorter one answers wrongly, blocks whose lease ended are read as they are. So all of it is checked here.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from tandem.core.handoff import Handoff
from tandem.engines.handoffs import LEASE_SHARE, prompt_digest
from tandem.errors import EngineFailed, KvTransferFailed

REQUIRED = ("remote_block_ids", "remote_engine_id", "remote_request_id", "remote_host", "remote_port", "tp_size")
_PROBE_S = 1.0


def ask_for_handoff() -> dict[str, Any]:
    """What makes a prefill engine keep a finished request's blocks."""
    return {"do_remote_decode": True, "do_remote_prefill": False}


def make_handoff(
    params: Mapping[str, Any] | None,
    token_ids: Sequence[int],
    *,
    engine: str,
    engine_id: str,
    now: float,
    lease_s: float,
) -> Handoff:
    """Wrap what vLLM returned for a finished prefill of `token_ids`.

    Raises:
        EngineFailed: it returned nothing, or not for these tokens.
    """
    if params is None or not all(params.get(key) is not None for key in REQUIRED):
        raise EngineFailed("the engine finished a prefill without transfer parameters")
    covered = params.get("remote_num_tokens")
    if covered is not None and covered != len(token_ids):
        raise EngineFailed(f"the engine holds KV of {covered} tokens, {len(token_ids)} were prefilled")
    return Handoff(
        engine=engine,
        engine_id=engine_id,
        num_tokens=len(token_ids),
        expires_at=now + lease_s * LEASE_SHARE,
        opaque={"id": params["remote_request_id"], "digest": prompt_digest(token_ids), "kv": dict(params)},
    )


def transfer_params(handoff: Handoff) -> dict[str, Any]:
    """What the decode engine is given.

    Raises:
        KvTransferFailed: incomplete; vLLM would wait for ever.
    """
    params = handoff.opaque.get("kv")
    missing = [key for key in REQUIRED if not isinstance(params, dict) or params.get(key) is None]
    if missing or not isinstance(params, dict):
        raise KvTransferFailed(f"hand-off of engine {handoff.engine_id} refused: it lacks {', '.join(missing)}")
    return params


async def probe(host: str, port: int) -> None:
    """See that a ZeroMQ peer answers there. vLLM would block all hand-shakes for 5 s on a dead one.

    Raises:
        KvTransferFailed: nobody greets within a second.
    """
    writer = None
    try:
        async with asyncio.timeout(_PROBE_S):
            reader, writer = await asyncio.open_connection(host, port)
            if await reader.read(1) != b"\xff":  # ZMTP greetings begin so
                raise OSError("no greeting")
    except (OSError, TimeoutError) as error:
        raise KvTransferFailed(f"the prefill engine at {host}:{port} does not answer") from error
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
