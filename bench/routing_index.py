"""Block indexes side by side: the product's table against dictionaries and a tree. `python -m bench.routing_index`.

The cluster: workers that hold private chains and some shared ones. Measured: bytes a block (by resident
memory), changes absorbed a second, and the time to match a 12k-token prompt of 188 blocks. CPU time.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

from tandem.kv.blocks import Hashes, Names, block_hashes, to_bytes
from tandem.kv.index import BlockIndex

PROMPT_BLOCKS = 188


class Index(Protocol):
    """What is compared."""

    def store(self, worker: int, parent: int, names: Hashes) -> None: ...
    def match(self, names: Names) -> object: ...


class Packed:
    """The product's."""

    def __init__(self, blocks: int) -> None:
        self.index = BlockIndex(blocks)

    def store(self, worker: int, parent: int, names: Hashes) -> None:
        self.index.store(worker, "gpu", to_bytes(names))

    def match(self, names: Names) -> object:
        return self.index.matches(names)


class Masks:
    """A dictionary from name to a bit mask of workers."""

    def __init__(self, _: int) -> None:
        self.held: dict[int, int] = {}

    def store(self, worker: int, parent: int, names: Hashes) -> None:
        bit, held = 1 << worker, self.held
        for name in names.tolist():
            held[name] = held.get(name, 0) | bit

    def match(self, names: Names) -> object:
        alive, depth, levels = -1, 0, []
        for name in names:
            mask = self.held.get(name, 0)
            if alive & ~mask:
                levels.append((depth, alive & ~mask))
            alive &= mask
            if not alive:
                return levels
            depth += 1
        return [*levels, (depth, alive)]


class Sets:
    """A dictionary from name to a set of workers, and one of names for each worker: the plain way."""

    def __init__(self, _: int) -> None:
        self.held: dict[int, set[int]] = {}
        self.mine: dict[int, set[int]] = {}

    def store(self, worker: int, parent: int, names: Hashes) -> None:
        mine = self.mine.setdefault(worker, set())
        for name in names.tolist():
            self.held.setdefault(name, set()).add(worker)
            mine.add(name)

    def match(self, names: Names) -> object:
        found: dict[int, int] = {}
        alive: set[int] | None = None
        for depth, name in enumerate(names, 1):
            holders = self.held.get(name)
            alive = (holders or set()) if alive is None else alive & (holders or set())
            if not alive:
                break
            for worker in alive:
                found[worker] = depth
        return found


class _Node:
    __slots__ = ("children", "workers")

    def __init__(self) -> None:
        self.children: dict[int, _Node] = {}
        self.workers: set[int] = set()


class Tree:
    """A radix tree of one block a node, as early KV routers kept it."""

    def __init__(self, _: int) -> None:
        self.nodes: dict[int, _Node] = {0: _Node()}

    def store(self, worker: int, parent: int, names: Hashes) -> None:
        values = names.tolist()
        above = self.nodes[parent]
        for name in values:
            node = self.nodes.get(name)
            if node is None:
                node = self.nodes[name] = above.children[name] = _Node()
            node.workers.add(worker)
            above = node

    def match(self, names: Names) -> object:
        found: dict[int, int] = {}
        node = self.nodes[0]
        for depth, name in enumerate(names, 1):
            following = node.children.get(name)
            if following is None:
                break
            for worker in following.workers:
                found[worker] = depth
            node = following
        return found


KINDS: dict[str, Callable[[int], Index]] = {"packed": Packed, "masks": Masks, "sets": Sets, "tree": Tree}


def cluster(workers: int, blocks: int, step: int) -> Iterator[tuple[int, int, Hashes]]:
    """What workers store, in order: private chains, and every fifth one shared with others."""
    rng = np.random.default_rng(1)
    shared = shared_chains()
    for worker in range(workers):
        left = blocks // workers
        while left > 0:
            private = rng.random() > 0.2
            chain = rng.integers(1, 2**63, PROMPT_BLOCKS, np.uint64) if private else shared[rng.integers(len(shared))]
            for start in range(0, PROMPT_BLOCKS, step):
                yield worker, int(chain[start - 1]) if start else 0, chain[start : start + step]
            left -= PROMPT_BLOCKS


def shared_chains() -> list[Hashes]:
    """Prompts that several workers hold."""
    rng = np.random.default_rng(2)
    return [rng.integers(1, 2**63, PROMPT_BLOCKS, np.uint64) for _ in range(2000)]


def measure(kind: str, workers: int, blocks: int, step: int) -> dict[str, float | str]:
    """One index, filled and asked."""
    before = resident_bytes()
    index = KINDS[kind](blocks)
    spent, stored = 0.0, 0
    for worker, parent, names in cluster(workers, blocks, step):
        begun = time.process_time()
        index.store(worker, parent, names)
        spent += time.process_time() - begun
        stored += names.size
    held = resident_bytes() - before
    asked = []
    for chain in [each.tolist() for each in shared_chains()]:
        begun = time.process_time()
        index.match(chain)
        asked.append(time.process_time() - begun)
    asked.sort()
    strangers = np.random.default_rng(3).integers(1, 2**63, (500, PROMPT_BLOCKS), np.uint64).tolist()
    begun = time.process_time()
    for chain in strangers:
        index.match(chain)
    nothing = (time.process_time() - begun) / len(strangers)
    return {
        "index": kind,
        "bytes_per_block": round(held / stored, 1),
        "changes_per_s": round(stored / spent),
        "match_p50_us": round(asked[len(asked) // 2] * 1e6, 1),
        "match_p99_us": round(asked[len(asked) * 99 // 100] * 1e6, 1),
        "match_nothing_us": round(nothing * 1e6, 1),
    }


def resident_bytes() -> int:
    """Of this process."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(arguments: Sequence[str]) -> int:
    """One kind in this process: memory of another would be counted too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=[*KINDS, "hashing"])
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--blocks", type=int, default=10_000_000)
    parser.add_argument("--step", type=int, default=32, help="blocks stored at a time: 32 are 2,048 tokens of 64")
    options = parser.parse_args(arguments)
    if options.kind == "hashing":
        tokens = list(range(12_032))
        begun = time.process_time()
        for _ in range(200):
            block_hashes(tokens, 64, 1)
        print(json.dumps({"hashing_us": round((time.process_time() - begun) / 200 * 1e6, 1)}))
        return 0
    print(json.dumps(measure(options.kind, options.workers, options.blocks, options.step)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
