"""One remote prefill as a story of events and effects."""

from hypothesis import given
from hypothesis import strategies as st

from tandem.core.handoff import Fence, Handoff
from tandem.core.request import GenerateOutput
from tandem.disagg.remote_prefill import (
    MAX_ATTEMPTS,
    Claimed,
    ClaimLost,
    Decoded,
    Effect,
    Emit,
    Ended,
    Enqueue,
    Event,
    FirstToken,
    HandoffArrived,
    PrefillHere,
    PullFailed,
    RemotePrefill,
    StartDecode,
    Tell,
    Waited,
    Withdraw,
    begin,
    step,
)

HANDOFF = Handoff(engine="simulated", engine_id="e", num_tokens=5, expires_at=1.0)
TOKEN = GenerateOutput([7])
LAST = GenerateOutput([7], finish_reason="stop")
A1 = Fence(1, 1)
A2 = Fence(1, 2)
B1 = Fence(2, 1)


def told(*events: Event) -> tuple[RemotePrefill, list[Effect]]:
    """The state after these events, and every effect on the way."""
    state, effects = begin()
    for event in events:
        state, more = step(state, event)
        effects = [*effects, *more]
    return state, effects


def test_the_straight_path() -> None:
    state, effects = told(Claimed(A1), FirstToken(A1, TOKEN), HandoffArrived(A1, HANDOFF), Decoded(), Ended())
    assert effects == [Enqueue(1), Tell(A1, "go"), Emit(TOKEN), StartDecode(HANDOFF), Tell(A1, "pulled")]
    assert state.phase == "ended"


def test_an_answer_that_ends_at_its_first_token_needs_no_kv() -> None:
    state, effects = told(Claimed(A1), FirstToken(A1, LAST))
    assert effects[-2:] == [Emit(LAST), Tell(A1, "pulled")]
    assert state.phase == "ended"


def test_a_lost_claimer_is_replaced_once_then_the_prompt_is_prefilled_here() -> None:
    lost = ClaimLost(fence=A1, reason="prefill_worker_lost", retry_ok=True)
    again = ClaimLost(fence=B1, reason="prefill_worker_lost", retry_ok=True)
    _, effects = told(Claimed(A1), lost, Claimed(B1), again)
    assert effects == [
        Enqueue(1),
        Tell(A1, "go"),
        Tell(A1, "cancel"),
        Withdraw(1),
        Enqueue(2),
        Tell(B1, "go"),
        Tell(B1, "cancel"),
        Withdraw(2),
        PrefillHere("prefill_worker_lost"),
    ]


def test_kv_that_fails_after_the_first_output_is_recovered_too() -> None:
    so_far = (Claimed(A1), HandoffArrived(A1, HANDOFF), Decoded())
    _, here = told(*so_far, PullFailed(reason="kv_transfer_failed", retry_ok=False))
    assert here[-1] == PrefillHere("kv_transfer_failed")
    _, again = told(*so_far, PullFailed(reason="kv_transfer_failed", retry_ok=True))
    assert again[-1] == Enqueue(2)


def test_without_another_prefill_worker_the_prompt_is_prefilled_here_at_once() -> None:
    _, effects = told(Claimed(A1), ClaimLost(fence=A1, reason="engine_failed", retry_ok=False))
    assert effects[-1] == PrefillHere("engine_failed")


def test_kv_that_does_not_arrive_abandons_the_hand_off_and_tries_again() -> None:
    failed = PullFailed(reason="kv_transfer_failed", retry_ok=True)
    state, effects = told(Claimed(A1), FirstToken(A1, TOKEN), HandoffArrived(A1, HANDOFF), failed)
    assert effects[-3:] == [Tell(A1, "abandoned"), Withdraw(1), Enqueue(2)]
    assert (state.phase, state.attempt, state.emitted) == ("queued", 2, False)


def test_a_redelivery_overtakes_a_claimer_that_went_silent() -> None:
    state, effects = told(Claimed(A1), Claimed(A2), HandoffArrived(A1, HANDOFF), HandoffArrived(A2, HANDOFF))
    assert effects == [
        Enqueue(1),
        Tell(A1, "go"),
        Tell(A1, "cancel"),
        Tell(A2, "go"),
        Tell(A1, "abandoned"),
        StartDecode(HANDOFF),
    ]
    assert state.phase == "pulling"


def test_a_redelivery_after_the_first_token_is_dead_since_the_token_has_left() -> None:
    _, effects = told(Claimed(A1), FirstToken(A1, TOKEN), Claimed(A2))
    assert effects[-1] == Tell(A2, "dead")


def test_a_claim_of_a_given_up_attempt_is_dead() -> None:
    lost = ClaimLost(fence=A1, reason="prefill_worker_lost", retry_ok=True)
    _, effects = told(Claimed(A1), lost, Claimed(A2))
    assert effects[-1] == Tell(A2, "dead")


def test_nobody_claims_in_time() -> None:
    _, effects = told(Waited("prefill_timeout"), Claimed(A1))
    assert effects == [Enqueue(1), Withdraw(1), PrefillHere("prefill_timeout"), Tell(A1, "dead")]


def test_the_client_leaves_while_the_job_waits_runs_or_is_being_read() -> None:
    assert told(Ended())[1][-1] == Withdraw(1)
    assert told(Claimed(A1), Ended())[1][-1] == Tell(A1, "cancel")
    assert told(Claimed(A1), HandoffArrived(A1, HANDOFF), Ended())[1][-1] == Tell(A1, "abandoned")
    assert told(Claimed(A1), HandoffArrived(A1, HANDOFF), Decoded(), Ended())[1][-1] == Tell(A1, "pulled")


fences = st.builds(Fence, st.integers(1, 3), st.integers(1, 3))
events = st.one_of(
    st.builds(Claimed, fences),
    st.builds(FirstToken, fences, st.sampled_from([TOKEN, LAST])),
    st.builds(HandoffArrived, fences, st.just(HANDOFF)),
    st.builds(ClaimLost, fence=fences, reason=st.just("x"), retry_ok=st.booleans()),
    st.just(Decoded()),
    st.builds(PullFailed, reason=st.just("x"), retry_ok=st.booleans()),
    st.just(Waited("x")),
    st.just(Ended()),
)


@given(st.lists(events, max_size=30))
def test_whatever_happens_nothing_is_done_twice_and_every_claim_is_answered(happened: list[Event]) -> None:
    state, effects = told(*happened, Ended())
    assert state.phase == "ended"
    assert sum(isinstance(e, PrefillHere) for e in effects) <= 1
    assert sum(isinstance(e, Enqueue) for e in effects) <= MAX_ATTEMPTS
    assert sum(isinstance(e, StartDecode) for e in effects) <= MAX_ATTEMPTS
    assert sum(isinstance(e, Emit) for e in effects) <= MAX_ATTEMPTS
    assert sum(isinstance(e, Emit) and e.output.finish_reason is not None for e in effects) <= 1
    finished = next((i for i, e in enumerate(effects) if isinstance(e, Emit) and e.output is LAST), None)
    if finished is not None:
        assert not any(isinstance(e, Emit | StartDecode | PrefillHere | Enqueue) for e in effects[finished + 1 :])
    for event in happened:
        if isinstance(event, Claimed):
            assert any(isinstance(e, Tell) and e.fence == event.fence for e in effects)
