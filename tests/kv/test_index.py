"""The block index against a dictionary that does the same the slow way."""

import random
from collections import defaultdict
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.kv.blocks import block_hashes, chain_root, to_bytes
from tandem.kv.holders import TIERS, Tier
from tandem.kv.index import BlockIndex, Overlap
from tandem.kv.table import SEGMENT


class Change(NamedTuple):
    worker: int
    tier: Tier
    names: list[int]
    stored: bool


def apply(index: BlockIndex, *changes: Change) -> None:
    for change in changes:
        (index.store if change.stored else index.remove)(change.worker, change.tier, to_bytes(change.names))


class Model:
    """The index as a dictionary."""

    def __init__(self) -> None:
        self.held: dict[int, set[tuple[int, Tier]]] = defaultdict(set)

    def apply(self, *changes: Change) -> None:
        for change in changes:
            for name in change.names:
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
        return depths[0], depths[1], depths[2]

    def __len__(self) -> int:
        return sum(bool(holders) for holders in self.held.values())


NAME = st.integers(1, 40)
CHANGE = st.builds(
    Change,
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
            apply(index, *act)
            model.apply(*act)
        found = index.matches(prompt)
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
            batch.append(Change(rng.randrange(24), rng.choice(TIERS), part, rng.random() < 0.45))
            done += len(part)
        if rng.random() < 0.01:
            worker = rng.randrange(24)
            index.forget(worker)
            model.forget(worker)
        apply(index, *batch)
        model.apply(*batch)
        if rng.random() < 0.05:
            prompt = rng.choice(chains)
            found = index.matches(prompt)
            assert [found.of(w) for w in range(24)] == [model.overlap(prompt, w) for w in range(24)]
    assert len(index) == len(model)
    for worker, tier in ((0, TIERS[0]), (23, TIERS[2])):
        wanted = {name for name, holders in model.held.items() if (worker, tier) in holders}
        assert set(index.held_by(worker, tier).tolist()) == wanted
    assert index.places <= 1 << 20, "400,000 blocks at most need no more"


def test_removals_of_unknown_blocks_do_not_fill_the_table() -> None:
    index = BlockIndex()
    before = index.places
    rng = random.Random(1)
    for _ in range(300):
        for worker, count in ((0, 64), (1, 1), (2, 1000)):
            apply(index, Change(worker, "gpu", [rng.getrandbits(64) | 1 for _ in range(count)], False))
    assert (index.places, len(index)) == (before, 0)


def test_room_can_be_made_beforehand() -> None:
    index = BlockIndex()
    apply(index, Change(0, "gpu", list(range(1, 100)), True))
    index.reserve(100_000)
    places = index.places
    for start in range(1, 100_000, 1000):
        apply(index, Change(0, "gpu", list(range(start, start + 1000)), True))
    assert index.places == places
    assert index.matches(range(1, 50)).of(0) == (49, 49, 49)
    assert index.matches(range(1, 50)).of(1) == (0, 0, 0)
    assert index.matches([]).of(0) == (0, 0, 0)
    assert index.matches([5]).of(0) == (1, 1, 1)


@pytest.mark.parametrize("at_once", [10, 1000])
def test_names_that_all_fall_into_one_place_cost_room_but_never_a_hang(at_once: int) -> None:
    index = BlockIndex()
    begin = SEGMENT - 1  # whose multiples all belong to the first place of a table of one segment
    unlucky = [begin * i for i in range(1, 18_001)]
    for start in range(0, 15_000, at_once):
        apply(index, Change(0, "gpu", unlucky[start : start + at_once], True))
    assert index.matches(unlucky[:15_000]).of(0)[0] == 15_000
    assert index.matches(unlucky[15_000:]).of(0) == (0, 0, 0)


class TestNames:
    def test_only_full_blocks_have_one(self) -> None:
        assert [len(block_hashes(range(n), 16, 1)) for n in (0, 15, 16, 31, 32)] == [0, 0, 1, 1, 2]

    def test_a_name_stands_for_everything_up_to_its_end(self) -> None:
        root = chain_root("m")
        one, other = block_hashes(range(64), 16, root), block_hashes([9, *range(1, 64)], 16, root)
        assert not set(one) & set(other)
        assert block_hashes([*range(48), *[7] * 16], 16, root)[:3] == one[:3]

    def test_a_chain_can_be_continued_from_any_block(self) -> None:
        whole = block_hashes(range(64), 16, chain_root("m"))
        assert block_hashes(range(32, 64), 16, whole[1]) == whole[2:]

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
        assert len({block_hashes(range(16), 16, root)[0] for root in roots}) == 7
