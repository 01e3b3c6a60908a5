"""What a worker tells and what a router makes of it: exact in order, out of order, repeated, lost and garbled."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.core.kv_events import AllBlocksCleared, BlockRemoved, BlockStored, KvEvent, KvEventBatch
from tandem.core.kv_updates import KvChange, KvUpdate
from tandem.kv.blocks import block_hashes, chain_root, from_bytes
from tandem.kv.feed import Feed
from tandem.kv.ledger import BlockLedger

SIZE = 4


def stored(hashes: list[int], tokens: list[int], parent: int | None = None, **more: object) -> BlockStored:
    known: dict[str, object] = {"block_size_tokens": SIZE, **more}
    return BlockStored(
        engine_block_hashes=hashes,
        parent_engine_block_hash=parent,
        token_ids=tokens,
        **known,  # type: ignore[arg-type]
    )


def batch(seq: int, *events: KvEvent) -> KvEventBatch:
    return KvEventBatch(seq=seq, events=list(events))


def held(ledger: BlockLedger) -> set[int]:
    return {name for part in ledger.state() for change in part for name in list(from_bytes(change.names))}


class TestLedger:
    def test_blocks_get_our_names_wherever_the_chain_is_cut(self) -> None:
        ledger = BlockLedger("m", SIZE)
        ledger.apply(batch(0, stored([901, 902], list(range(8)))))
        [change] = ledger.apply(batch(1, stored([903], [8, 9, 10, 11], 902)))
        ours = block_hashes(range(12), SIZE, chain_root("m"))
        assert list(from_bytes(change.names)) == ours[2:]
        assert held(ledger) == set(ours)
        [gone] = ledger.apply(batch(2, BlockRemoved(engine_block_hashes=[902])))
        assert (gone.kind, list(from_bytes(gone.names))) == ("removed", [ours[1]])
        assert (ledger.seq, len(ledger)) == (2, 2)

    def test_tenants_and_adapters_get_names_of_their_own(self) -> None:
        ledger = BlockLedger("m", SIZE)
        ledger.apply(batch(0, stored([1], [1, 2, 3, 4]), stored([2], [1, 2, 3, 4], cache_salt="t")))
        ledger.apply(batch(1, stored([3], [1, 2, 3, 4], lora_name="l")))
        assert len(held(ledger)) == 3
        assert block_hashes([1, 2, 3, 4], SIZE, chain_root("m", cache_salt="t"))[0] in held(ledger)

    def test_a_block_stays_known_while_any_tier_has_it(self) -> None:
        ledger = BlockLedger("m", SIZE)
        ledger.apply(batch(0, stored([1], [1, 2, 3, 4])))
        [change] = ledger.apply(batch(1, BlockStored(engine_block_hashes=[1], parent_engine_block_hash=None,
                                                     token_ids=[], block_size_tokens=0, tier="host")))  # fmt: skip
        assert (change.kind, change.tier) == ("stored", "host")
        ledger.apply(batch(2, BlockRemoved(engine_block_hashes=[1])))
        assert len(held(ledger)) == 1
        ledger.apply(batch(3, BlockRemoved(engine_block_hashes=[1], tier="host")))
        assert (held(ledger), len(ledger)) == (set(), 0)

    @pytest.mark.parametrize(
        ("why", "event"),
        [
            ("foreign_block_size", stored([5], [1, 2, 3, 4], block_size_tokens=16)),
            ("unknown_parent", stored([5], [1, 2, 3, 4], 77)),
            ("garbage", stored([5], [1, 2, 3])),
            ("garbage", stored([5], [1, 2, 3, -4])),
            ("without_tokens", stored([5], [])),
            ("unknown_block", BlockRemoved(engine_block_hashes=[5])),
            ("unknown_tier", BlockRemoved(engine_block_hashes=[5], tier="moon")),
        ],
    )
    def test_what_cannot_be_used_is_dropped_and_counted(self, why: str, event: KvEvent) -> None:
        ledger = BlockLedger("m", SIZE)
        assert ledger.apply(batch(0, event)) == []
        assert (dict(ledger.dropped), ledger.seq, held(ledger)) == ({why: 1}, -1, set())

    def test_after_a_gap_of_the_engine_it_claims_nothing_it_does_not_know(self) -> None:
        ledger = BlockLedger("m", SIZE)
        ledger.apply(batch(0, stored([1], [1, 2, 3, 4])))
        changes = ledger.apply(batch(2, stored([2], [5, 6, 7, 8])))
        assert [change.kind for change in changes] == ["cleared", "stored"]
        assert ledger.apply(batch(2, stored([3], [9, 9, 9, 9]))) == []
        assert ledger.apply(batch(3, AllBlocksCleared()))[0].kind == "cleared"
        assert held(ledger) == set()


ORDER = st.lists(st.tuples(st.sampled_from(["tell", "lose", "twice", "late", "beat", "state"])), max_size=60)


@settings(max_examples=200)
@given(ORDER, st.randoms(use_true_random=False))
def test_a_router_ends_with_what_the_worker_holds_whatever_the_bus_does(
    order: list[tuple[str]], rng: random.Random
) -> None:
    truth: set[int] = set()
    seen: set[int] = set()
    feed, seq, late = Feed(), -1, list[KvUpdate]()

    def take(updates: list[KvUpdate]) -> None:
        for update in updates:
            for change in update.changes:
                name = int(from_bytes(change.names)[0])
                (seen.add if change.kind == "stored" else seen.discard)(name)

    def repair() -> None:
        whole = False
        while not whole:
            seen.clear()
            seen.update(truth)
            following, whole = feed.state_known(seq)
            take(following)

    def hear(update: KvUpdate) -> None:
        take([update] if feed.heard(update) == "applied" else [])

    for (what,) in order:
        if what == "state" and not feed.warm:
            repair()
        elif what == "beat":
            hear(KvUpdate(instance_id="w", seq=seq))
        elif what != "state":
            name, add = rng.randrange(1, 9), rng.random() < 0.6
            (truth.add if add else truth.discard)(name)
            seq += 1
            raw = name.to_bytes(8, "little")
            update = KvUpdate(instance_id="w", seq=seq, changes=[KvChange("stored" if add else "removed", "gpu", raw)])
            if what == "late":
                late.append(update)
            elif what != "lose":
                hear(update)
                if what == "twice":
                    hear(update)
        if late and rng.random() < 0.3:
            hear(late.pop())
        if feed.warm and feed.next_seq == seq + 1:
            assert seen == truth
    hear(KvUpdate(instance_id="w", seq=seq))
    if not feed.warm:
        repair()
    assert seen == truth
