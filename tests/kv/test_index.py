"""The block index against a dictionary that does the same the slow way."""

import random
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.kv.blocks import Hashes, block_hashes, chain_root, from_bytes, to_bytes
from tandem.kv.holders import TIERS, Tier
from tandem.kv.index import BlockIndex, Change, Overlap


def names(values: Iterable[int]) -> Hashes:
    return np.array(list(values), np.uint64)


class Model:
    """The index as a dictionary."""

    def __init__(self) -> None:
        self.held: dict[int, set[tuple[int, Tier]]] = defaultdict(set)

    def apply(self, changes: list[Change]) -> None:
        for change in changes:
            for name in from_bytes(change.names).tolist():
                if change.stored:
                    self.held[name].add((change.worker, change.tier))
                else:
                    self.held[name].discard((change.worker, change.tier))

    def forget(self, worker: int, *tiers: Tier) -> None:
        for holders in self.held.values():
            holders -= {(worker, tier) for tier in tiers or TIERS}

    def overlap(self, prompt: list[int], worker: int) -> Overlap:
        depths = []
        for tier in range(len(TIERS)):
            wanted = {(worker, t) for t in TIERS[: tier + 1]}
            depth = 0
            while depth < len(prompt) and self.held[prompt[depth]] & wanted:
                depth += 1
            depths.append(depth)
        return Overlap(*depths)

    def __len__(self) -> int:
        return sum(bool(holders) for holders in self.held.values())


NAME = st.integers(1, 40)
CHANGE = st.builds(
    lambda worker, tier, values, stored: Change(worker, tier, to_bytes(names(values)), stored),
    st.integers(0, 5),
    st.sampled_from(TIERS),
    st.lists(NAME, max_size=8),
    st.booleans(),
)
ACT = st.one_of(
    st.lists(CHANGE, max_size=6), st.tuples(st.integers(0, 5), st.lists(st.sampled_from(TIERS), unique=True))
)


@settings(max_examples=150, deadline=None)
@given(acts=st.lists(ACT, max_size=12), prompt=st.lists(NAME, max_size=12))
def test_it_is_a_dictionary_only_faster(acts: list[list[Change] | tuple[int, list[Tier]]], prompt: list[int]) -> None:
    index, model = BlockIndex(), Model()
    for act in acts:
        if isinstance(act, tuple):
            index.forget(act[0], *act[1])
            model.forget(act[0], *act[1])
        else:
            index.apply(act)
            model.apply(act)
        found = index.matches(names(prompt))
        assert [found.of(w) for w in range(6)] == [model.overlap(prompt, w) for w in range(6)]
        assert len(index) == len(model)


@pytest.mark.timeout(120)
def test_a_million_changes_leave_it_right() -> None:
    """Chains of blocks that many workers store and evict, in batches of every size, over growth and many sweeps."""
    rng, index, model = random.Random(4), BlockIndex(), Model()
    chains = [[rng.getrandbits(64) | 1 for _ in range(200)] for _ in range(2000)]
    done = 0
    while done < 1_000_000:
        batch = []
        for _ in range(rng.choice((1, 1, 4, 60))):
            chain, start = rng.choice(chains), rng.randrange(150)
            part = chain[start : start + rng.choice((1, 16, 50))]
            batch.append(Change(rng.randrange(24), rng.choice(TIERS), to_bytes(names(part)), rng.random() < 0.45))
            done += len(part)
        if rng.random() < 0.01:
            worker = rng.randrange(24)
            index.forget(worker)
            model.forget(worker)
        index.apply(batch)
        model.apply(batch)
        if rng.random() < 0.05:
            prompt = rng.choice(chains)
            found = index.matches(names(prompt))
            assert [found.of(w) for w in range(24)] == [model.overlap(prompt, w) for w in range(24)]
    assert len(index) == len(model)
    for worker, tier in ((0, TIERS[0]), (23, TIERS[3])):
        wanted = {name for name, holders in model.held.items() if (worker, tier) in holders}
        assert set(index.held_by(worker, tier).tolist()) == wanted
    assert index.places <= 1 << 20, "400,000 blocks at most need no more"


def test_removals_of_unknown_blocks_do_not_fill_the_table() -> None:
    index = BlockIndex()
    before = index.places
    rng = random.Random(1)
    for _ in range(300):
        unknown = [to_bytes(names(rng.getrandbits(64) | 1 for _ in range(64))) for _ in range(4)]
        batch = [Change(w, "gpu", raw, False) for w, raw in enumerate(unknown)]
        index.apply(batch)
    assert (index.places, len(index)) == (before, 0)


def test_room_can_be_made_beforehand() -> None:
    index = BlockIndex()
    index.apply([Change(0, "gpu", to_bytes(names(range(1, 100))), True)])
    index.reserve(100_000)
    places = index.places
    for start in range(1, 100_000, 1000):
        index.apply([Change(0, "gpu", to_bytes(names(range(start, start + 1000))), True)])
    assert index.places == places
    assert index.matches(names(range(1, 50))).of(0) == Overlap(49, 49, 49, 49)
    assert index.matches(names(range(1, 50))).of(1) == Overlap()
    assert index.matches(names([])).longest == 0
    assert index.matches(names([5])).longest == 1


def test_names_that_all_fall_into_one_place_cost_room_but_never_a_hang() -> None:
    inverse = pow(0x9E3779B97F4A7C15, -1, 1 << 64)
    unlucky = [(i + 1) * inverse % (1 << 64) for i in range(20_000)]  # more than a segment, spread to its first places
    index = BlockIndex()
    index.apply([Change(0, "gpu", to_bytes(names(unlucky[:15_000])), True)])
    assert index.matches(names(unlucky[:15_000])).of(0).gpu == 15_000
    assert index.matches(names(unlucky[15_000:])).longest == 0


class TestNames:
    def test_only_full_blocks_have_one(self) -> None:
        assert [block_hashes(range(n), 16, 1).size for n in (0, 15, 16, 31, 32)] == [0, 0, 1, 1, 2]

    def test_a_name_stands_for_everything_up_to_its_end(self) -> None:
        root = chain_root("m")
        one, other = block_hashes(range(64), 16, root), block_hashes([9, *range(1, 64)], 16, root)
        assert not set(one.tolist()) & set(other.tolist())
        assert (block_hashes([*range(48), *[7] * 16], 16, root)[:3] == one[:3]).all()

    def test_a_chain_can_be_continued_from_any_block(self) -> None:
        whole = block_hashes(range(64), 16, chain_root("m"))
        assert (block_hashes(range(32, 64), 16, int(whole[1])) == whole[2:]).all()

    def test_models_adapters_and_tenants_share_nothing(self) -> None:
        roots = {
            chain_root("m"),
            chain_root("n"),
            chain_root("m", lora_name="a"),
            chain_root("m", cache_salt="a"),
            chain_root("m", lora_name="a", cache_salt="b"),
            chain_root("m", cache_salt=""),
            chain_root("m\0-\0+1:a"),
        }
        assert len(roots) == 7
        assert len({int(block_hashes(range(16), 16, root)[0]) for root in roots}) == 7
