"""What a KV block is called: a hash chained over everything up to its end.

    h(-1) = xxh3(model, LoRA, cache salt)        h(i) = xxh3(tokens of block i, seed = h(i-1))

Equal names mean equal tokens from the first one on, for the same model, LoRA and tenant; so a name alone
finds a prefix, and tenants with different salts share nothing. 64 bits: among ten million blocks two
collide with a chance of 3 in a million, and then a request goes to a worker that has to compute a little
more; nothing is ever read by these names. Only full blocks have one.
"""

import struct
from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

Names = Sequence[int]
"""Names of blocks, in prompt order."""
Hashes = NDArray[np.uint64]
"""The same, where many are worked on at once."""

_TOKEN_BYTES = 4
NAME_BYTES = 8
_NOBODYS_BYTES = bytes(NAME_BYTES)
"""Never a block's name: the index marks free places with 0."""
_one = struct.Struct("<Q").unpack


def chain_root(model: str, *, lora_name: str | None = None, cache_salt: str | None = None) -> int:
    """Where a chain of blocks begins. Each part is told from the next, so that no two lists of parts look alike."""
    parts = (model, lora_name, cache_salt)
    return xxh3_64_intdigest("\0".join("-" if p is None else f"+{len(p)}:{p}" for p in parts).encode())


def block_hashes(token_ids: Sequence[int], block_size_tokens: int, root: int) -> list[int]:
    """Names of the full blocks of a prompt (or of the tokens that follow a block called `root`).

    Raises:
        OverflowError: a token id below 0 or above 2**32 - 1.
    """
    whole = len(token_ids) // block_size_tokens * block_size_tokens
    tokens = array("I", token_ids if whole == len(token_ids) else token_ids[:whole]).tobytes()
    name, digest = root, xxh3_64_intdigest
    blocks = struct.iter_unpack(f"{block_size_tokens * _TOKEN_BYTES}s", tokens)
    return [name := digest(block, name) or 1 for (block,) in blocks]


def to_bytes(names: Names | Hashes) -> bytes:
    """For the wire: little-endian, eight bytes each."""
    if isinstance(names, np.ndarray):
        return names.astype("<u8", copy=False).tobytes()
    return struct.pack(f"<{len(names)}Q", *names)


def from_bytes(raw: bytes) -> tuple[int, ...]:
    """Back from the wire: whole names, which `are_names` has seen."""
    if len(raw) == NAME_BYTES:  # one block: what a sequence that decodes alone stores
        return _one(raw)
    return struct.unpack(f"<{len(raw) // NAME_BYTES}Q", raw)


def many_from_bytes(raw: bytes) -> Hashes:
    """The same, as an array."""
    names: Hashes = np.frombuffer(raw, "<u8").astype(np.uint64, copy=False)
    return names


def as_array(names: Names) -> Hashes:
    """Names as an array."""
    return np.frombuffer(array("Q", names), np.uint64)


def are_names(raw: bytes) -> bool:
    """Whether these bytes are names: eight bytes each, none of them 0."""
    if len(raw) % NAME_BYTES:
        return False
    return _NOBODYS_BYTES not in raw or bool(many_from_bytes(raw).all())
