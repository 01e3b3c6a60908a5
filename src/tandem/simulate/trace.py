"""Requests to play: a trace in Mooncake's format, compressed in time, or loads made to hurt.

A line is {"timestamp": ms, "input_length": tokens, "output_length": tokens, "hash_ids": [block, …]}; equal
ids mean equal content of a block and of all before it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import msgspec
import numpy as np

from tandem.errors import ConfigError
from tandem.kv.blocks import Hashes

TRACE_BLOCK_TOKENS = 512
"""Tokens per block id in Mooncake's traces."""


class _Line(msgspec.Struct):
    timestamp: float
    input_length: int
    output_length: int
    hash_ids: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class TraceRequest:
    """One request of a trace."""

    request_id: str
    at_s: float
    prompt_tokens: int
    output_tokens: int
    names: Hashes
    """The prompt's blocks; the last one may be partial."""


def read_trace(path: Path, *, limit: int | None = None) -> list[TraceRequest]:
    """A trace file, in order of time.

    Raises:
        ConfigError: the file is not there, or a line is not of the format; the message names the line.
    """
    decode = msgspec.json.Decoder(_Line).decode
    requests = []
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines):
                if number == limit:
                    break
                entry = decode(line)
                # Ids count from 0, and no block is called 0.
                names = np.array(entry.hash_ids, np.uint64) + np.uint64(1)
                requests.append(
                    TraceRequest(
                        str(number), entry.timestamp / 1000, max(1, entry.input_length), entry.output_length, names
                    )
                )
    except OSError as error:
        raise ConfigError(f"the trace {path} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, OverflowError) as error:
        raise ConfigError(f"{path}, line {number + 1}: {error}") from error
    if not requests:
        raise ConfigError(f"the trace {path} has no request")
    return sorted(requests, key=lambda r: r.at_s)


def compressed(requests: Sequence[TraceRequest], factor: float) -> list[TraceRequest]:
    """The same requests, `factor` times as close together."""
    return [replace(request, at_s=request.at_s / factor) for request in requests]


def hot_prefix(count: int, *, rate_per_s: float, seed: int, prefix_blocks: int = 24) -> list[TraceRequest]:
    """Prompts that all begin with one long prefix: whoever holds it would get everything."""
    prefix = np.arange(1, prefix_blocks + 1, dtype=np.uint64)
    return _poisson(count, rate_per_s, seed, lambda i: np.append(prefix, np.uint64(1_000_000 + i)))


def all_distinct(count: int, *, rate_per_s: float, seed: int) -> list[TraceRequest]:
    """Prompts that share nothing: there is nothing to win, only something to lose."""
    rng = Random(seed)
    return _poisson(
        count,
        rate_per_s,
        seed,
        lambda i: np.arange(1, rng.randint(2, 40), dtype=np.uint64) + np.uint64(i * 1000),
    )


def _poisson(count: int, rate_per_s: float, seed: int, names: Callable[[int], Hashes]) -> list[TraceRequest]:
    rng, now, requests = Random(seed), 0.0, []
    for i in range(count):
        now += rng.expovariate(rate_per_s)
        blocks = names(i)
        prompt = len(blocks) * TRACE_BLOCK_TOKENS - rng.randrange(TRACE_BLOCK_TOKENS)
        requests.append(TraceRequest(str(i), now, prompt, 1 + int(rng.expovariate(1 / 200)), blocks))
    return requests
