"""The embedded planes' rules, with a clock that is a variable."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tandem.errors import LeaseLost, ServingError
from tandem.transport.hub import HubState
from tandem.transport.hub_bus import BusState, check_subject, subject_matches
from tandem.transport.hub_queue import Deliver, QueueState
from tandem.transport.hub_store import LeaseEnded, Notify, StoreState
from tandem.transport.ports import LaneDepth, StoreEvent

# ── store ────────────────────────────────────────────────────────────────────────────────────────


def test_a_lease_that_is_not_renewed_takes_its_keys_with_it() -> None:
    store = StoreState()
    lease = store.grant(10, now=0)
    watch, _ = store.watch("/a/")
    store.put("/a/1", b"1", lease)
    assert store.renew(lease, now=6)
    assert store.next_deadline() == 16
    assert store.expire(now=15.9) == []
    assert store.expire(now=16) == [LeaseEnded(lease), Notify(watch, StoreEvent("delete", "/a/1"))]
    assert not store.renew(lease, now=16)
    assert store.next_deadline() is None
    with pytest.raises(LeaseLost):
        store.put("/a/1", b"1", lease)


def test_a_key_follows_the_lease_of_its_last_put() -> None:
    store = StoreState()
    first, second = store.grant(10, now=0), store.grant(10, now=0)
    store.put("/a", b"1", first)
    store.put("/a", b"2", second)
    assert store.revoke(first) == [LeaseEnded(first)]
    assert store.get("/a") == b"2"
    store.revoke(second)
    assert store.get("/a") is None


def test_leases_of_another_start_are_unknown() -> None:
    before, after = HubState(epoch=1000), HubState(epoch=2000)
    lease = before.store.grant(10, now=0)
    assert not after.store.renew(lease, now=0)
    assert after.store.revoke(lease) == []


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "delete", "create", "lapse"]), st.sampled_from("abc"), st.binary(max_size=2))
    )
)
def test_a_watcher_who_applies_what_it_is_told_has_the_stores_content(steps: list[tuple[str, str, bytes]]) -> None:
    store = StoreState()
    store.put("/a", b"before", None)
    watch, first = store.watch("/")
    effects = [Notify(watch, event) for event in first]
    now = 0.0
    for what, key, value in steps:
        now += 1
        match what:
            case "put":
                effects += store.put(f"/{key}", value, store.grant(2, now))[1]  # type: ignore[arg-type]
            case "create":
                effects += store.put(f"/{key}", value, None, only_if_absent=True)[1]  # type: ignore[arg-type]
            case "delete":
                effects += store.delete(f"/{key}")  # type: ignore[arg-type]
            case "lapse":
                effects += store.expire(now)  # type: ignore[arg-type]
    told: dict[str, bytes] = {}
    for effect in effects:
        if isinstance(effect, Notify):
            match effect.event:
                case StoreEvent("put", key, value):
                    told[key] = value
                case StoreEvent("delete", key):
                    del told[key]
    assert told == store.get_prefix("/")


# ── bus ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("pattern", "subject", "matches"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.b.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*.c", "a.b.c", True),
        ("*", "a.b", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        (">", "a", True),
    ],
)
def test_a_pattern_covers_what_nats_would_cover(pattern: str, subject: str, matches: bool) -> None:
    assert subject_matches(pattern, subject) is matches
    bus = BusState()
    number = bus.subscribe(pattern)
    assert (bus.listeners(subject) == (number,)) is matches
    bus.unsubscribe(number)
    assert bus.listeners(subject) == ()


@pytest.mark.parametrize("subject", ["", "a..b", ".a", "a.", "a b", "a.*", "a.>", "a\n"])
def test_what_is_no_subject_is_refused(subject: str) -> None:
    with pytest.raises(ServingError):
        check_subject(subject, pattern=False)
    with pytest.raises(ServingError):
        BusState().listeners(subject)


# ── work queue ───────────────────────────────────────────────────────────────────────────────────


def _payloads(effects: list[Deliver]) -> list[tuple[int, bytes, int]]:
    return [(effect.taker, effect.payload, effect.number) for effect in effects]


def test_the_taker_who_waited_longest_gets_the_job() -> None:
    queue = QueueState(10)
    assert queue.take(1, ["other"], 0) == []
    assert queue.take(2, ["lane"], 0) == []
    assert queue.take(3, ["other", "lane"], 0) == []
    assert _payloads(queue.put("lane", "a", b"a", 0)) == [(2, b"a", 1)]
    assert _payloads(queue.put("lane", "b", b"b", 0)) == [(3, b"b", 1)]
    queue.forget_taker(1)
    assert queue.put("other", "c", b"c", 0) == []


def test_a_job_that_lapses_goes_before_younger_ones() -> None:
    queue = QueueState(10)
    for job in ("a", "b", "c"):
        queue.put("lane", job, job.encode(), 0)
    queue.take(1, ["lane"], 0)
    assert queue.next_deadline() == 10
    assert queue.expire(10) == []
    assert _payloads([*queue.take(2, ["lane"], 10), *queue.take(3, ["lane"], 10)]) == [(2, b"a", 2), (3, b"b", 1)]


def test_only_the_holder_renews_or_gives_back_and_anyone_who_did_it_acks() -> None:
    queue = QueueState(10)
    queue.put("lane", "a", b"a", 0)
    (first,) = queue.take(1, ["lane"], 0)
    queue.expire(10)
    (second,) = queue.take(2, ["lane"], 10)
    queue.in_progress(first.seq, first.number, 19)
    assert queue.next_deadline() == 20, "a lapsed claim renews nothing"
    assert queue.nak(first.seq, first.number, 0, 19) == []
    assert queue.lanes() == {"lane": LaneDepth(0, 1)}
    queue.in_progress(second.seq, second.number, 19)
    assert queue.next_deadline() == 29
    queue.ack(first.seq)
    assert queue.lanes() == {"lane": LaneDepth(0, 0)}


def test_a_delivery_that_reached_nobody_does_not_count() -> None:
    queue = QueueState(10)
    queue.put("lane", "a", b"a", 0)
    (made,) = queue.take(1, ["lane"], 0)
    queue.undo(made.seq, made.number, 0)
    assert _payloads(queue.take(2, ["lane"], 0)) == [(2, b"a", 1)]


def test_an_id_is_a_new_job_after_two_minutes() -> None:
    queue = QueueState(10)
    queue.put("lane", "a", b"1", 0)
    queue.put("lane", "a", b"2", 119.9)
    assert queue.lanes()["lane"].waiting == 1
    queue.put("lane", "a", b"3", 120)
    assert queue.lanes()["lane"].waiting == 2


def test_claimed_jobs_of_a_dropped_lane_lapse_into_the_other() -> None:
    queue = QueueState(10)
    queue.put("gone", "a", b"a", 0)
    queue.put("gone", "b", b"b", 0)
    queue.take(1, ["gone"], 0)
    assert queue.take(2, ["common"], 0) == []
    assert _payloads(queue.drop_lane("gone", "common", 1)) == [(2, b"b", 1)]
    queue.take(3, ["common"], 1)
    assert _payloads(queue.expire(10)) == [(3, b"a", 2)]
    assert set(queue.lanes()) == {"common"}


class QueueMachine(RuleBasedStateMachine):
    """Whatever happens, each job is in one place, and is delivered until it is acked or cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = QueueState(ack_wait_s=5)
        self.now = 0.0
        self.next_id = 0
        self.open: set[bytes] = set()
        self.held: dict[int, Deliver] = {}
        self.deliveries: Counter[bytes] = Counter()
        self.takers = 0

    def hand(self, effects: list[Deliver]) -> None:
        for made in effects:
            assert made.payload in self.open, "nothing is delivered after its end"
            self.deliveries[made.payload] += 1
            assert made.number == self.deliveries[made.payload]
            self.held[made.seq] = made

    @rule(lane=st.sampled_from("abc"))
    def put(self, lane: str) -> None:
        job = f"job-{self.next_id}"
        self.next_id += 1
        self.open.add(job.encode())
        self.hand(self.queue.put(lane, job, job.encode(), self.now))

    @rule(lanes=st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True))
    def take(self, lanes: list[str]) -> None:
        self.takers += 1
        self.hand(self.queue.take(self.takers, lanes, self.now))

    @precondition(lambda self: bool(self.held))
    @rule(data=st.data(), delay_s=st.sampled_from([0.0, 3.0]))
    def nak(self, data: st.DataObject, delay_s: float) -> None:
        made = data.draw(st.sampled_from(list(self.held.values())))
        self.hand(self.queue.nak(made.seq, made.number, delay_s, self.now))

    @precondition(lambda self: bool(self.held))
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        made = data.draw(st.sampled_from(list(self.held.values())))
        del self.held[made.seq]
        self.open.discard(made.payload)
        self.queue.ack(made.seq)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, max(0, self.next_id)))
        if self.queue.cancel(f"job-{number}"):
            self.open.remove(f"job-{number}".encode())

    @rule(lane=st.sampled_from("abc"), into=st.sampled_from("abc"))
    def drop_lane(self, lane: str, into: str) -> None:
        self.hand(self.queue.drop_lane(lane, into, self.now))

    @rule(seconds=st.sampled_from([0.5, 2.0, 6.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.hand(self.queue.expire(self.now))
        due = self.queue.next_deadline()
        assert due is None or due > self.now

    @invariant()
    def every_open_job_is_counted_once(self) -> None:
        depths = self.queue.lanes().values()
        assert sum(depth.waiting + depth.claimed for depth in depths) == len(self.open)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
