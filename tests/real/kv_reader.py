"""Lets a test read an engine's KV cache as it lies in memory. Mixed into vLLM's worker class in place of ours."""

from typing import Any

import xxhash

from tandem.engines.vllm.worker_extension import HandoffRelease

EXTENSION = f"{__name__}.KvReader"


class KvReader(HandoffRelease):
    """For `collective_rpc`."""

    def kv_digests(self, blocks: list[int] | None, kv_blocks: int) -> list[str]:
        """A digest of each block's bytes over all layers, keys and values; of every block for None."""
        return [
            xxhash.xxh3_128_hexdigest(self._kv_bytes(block, kv_blocks))
            for block in (range(kv_blocks) if blocks is None else blocks)
        ]

    def kv_block(self, block: int, kv_blocks: int) -> bytes:
        """One block's bytes."""
        return self._kv_bytes(block, kv_blocks)

    def _kv_bytes(self, block: int, kv_blocks: int) -> bytes:
        found = []
        for layer in self.model_runner.kv_caches:  # type: ignore[attr-defined]
            found += [part.contiguous().view(-1).numpy().tobytes() for part in _parts(layer, block, kv_blocks)]
        return b"".join(found)


def _parts(layer: Any, block: int, kv_blocks: int) -> list[Any]:
    """A layer's pieces of one block. Keys and values may come first; a block may be several of the kernel's."""
    torch = __import__("torch")
    halves = [layer] if layer.shape[0] % kv_blocks == 0 else list(layer)
    found = []
    for half in halves:
        per_block, rest = divmod(half.shape[0], kv_blocks)
        assert rest == 0, f"a layer of shape {tuple(layer.shape)} does not hold {kv_blocks} blocks"
        found.append(half[block * per_block : (block + 1) * per_block].contiguous().view(torch.uint8))
    return found
