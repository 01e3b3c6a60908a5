"""Where a prompt is prefilled, and whether its first token may come from elsewhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.core.request import GenerateRequest, Grammar, Sampling
from tandem.disagg.rules import (
    COMMON_LANE,
    DisaggRules,
    advanced,
    first_token_is_exact,
    lane_for,
    prefill_site,
    queue_name,
)

ALWAYS = DisaggRules(
    remote_prefill=True, conditional_disagg=False, max_local_prefill_length=1000, max_prefill_queue_size=3
)
CONDITIONAL = DisaggRules(
    remote_prefill=True, conditional_disagg=True, max_local_prefill_length=1000, max_prefill_queue_size=3
)
OFF = DisaggRules(
    remote_prefill=False, conditional_disagg=False, max_local_prefill_length=1000, max_prefill_queue_size=3
)
FINE = {
    "uncached_tokens": 2000,
    "wants_prompt_logprobs": False,
    "queued_jobs": 0,
    "prefill_workers": 2,
    "compatible_prefill_workers": 2,
    "bus_connected": True,
}


@pytest.mark.parametrize(
    ("rules", "changed", "remote", "reason"),
    [
        (ALWAYS, {}, True, "always"),
        (ALWAYS, {"uncached_tokens": 1}, True, "always"),
        (ALWAYS, {"queued_jobs": 99}, True, "always"),
        (ALWAYS, {"wants_prompt_logprobs": True}, False, "prompt_logprobs"),
        (ALWAYS, {"prefill_workers": 0, "compatible_prefill_workers": 0}, False, "no_prefill_worker"),
        (ALWAYS, {"compatible_prefill_workers": 0}, False, "incompatible_prefill_workers"),
        (ALWAYS, {"bus_connected": False}, False, "bus_outage"),
        (OFF, {}, False, "remote_prefill_off"),
        (CONDITIONAL, {}, True, "long_prompt"),
        (CONDITIONAL, {"uncached_tokens": 1000}, False, "short_prompt"),
        (CONDITIONAL, {"uncached_tokens": 1001}, True, "long_prompt"),
        (CONDITIONAL, {"queued_jobs": 2}, True, "long_prompt"),
        (CONDITIONAL, {"queued_jobs": 3}, False, "queue_full"),
        (CONDITIONAL, {"uncached_tokens": 10, "prefill_workers": 0}, False, "short_prompt"),
    ],
)
def test_prefill_site(rules: DisaggRules, changed: dict[str, int], remote: bool, reason: str) -> None:
    site = prefill_site(rules, **{**FINE, **changed})  # type: ignore[arg-type]
    assert (site.remote, site.reason) == (remote, reason)


@pytest.mark.parametrize(
    ("sampling", "exact"),
    [
        (Sampling(max_tokens=8, temperature=0), True),
        (Sampling(max_tokens=8, temperature=0.9), True),
        (Sampling(max_tokens=8, temperature=0, seed=1), True),
        (Sampling(max_tokens=8, temperature=0.9, seed=1), False),
        (Sampling(max_tokens=8, temperature=0, presence_penalty=0.5), False),
        (Sampling(max_tokens=8, temperature=0, frequency_penalty=0.5), False),
        (Sampling(max_tokens=8, temperature=0, repetition_penalty=1.2), True),
        (Sampling(max_tokens=8, temperature=0, min_tokens=1), False),
        (Sampling(max_tokens=8, temperature=0, grammar=Grammar(kind="json_object")), False),
        (Sampling(max_tokens=1, temperature=0.9, seed=1, grammar=Grammar(kind="json_object")), True),
    ],
)
def test_the_first_token_may_come_from_the_prefill_worker_only_where_that_changes_nothing(
    sampling: Sampling, exact: bool
) -> None:
    assert first_token_is_exact(sampling, prompt_tokens=100, max_model_len=200) is exact


@pytest.mark.parametrize(
    ("prompt_tokens", "max_tokens", "exact"), [(198, 2, True), (199, 2, False), (199, 1, True), (200, 1, False)]
)
def test_a_prompt_near_the_limit_leaves_the_prefill_engine_no_second_token(
    prompt_tokens: int, max_tokens: int, exact: bool
) -> None:
    sampling = Sampling(max_tokens=max_tokens, temperature=0)
    assert first_token_is_exact(sampling, prompt_tokens=prompt_tokens, max_model_len=200) is exact


def a_request(prompt: list[int], *, max_tokens: int = 16, min_tokens: int = 0) -> GenerateRequest:
    return GenerateRequest(
        request_id="r",
        model="m",
        prompt_token_ids=prompt,
        sampling=Sampling(max_tokens=max_tokens, min_tokens=min_tokens),
    )


@given(st.lists(st.integers(0, 9), min_size=1), st.lists(st.integers(0, 9), max_size=12))
def test_what_was_sent_moves_from_the_output_to_the_prompt(prompt: list[int], sent: list[int]) -> None:
    rest = advanced(a_request(prompt, min_tokens=4), sent)
    assert rest.prompt_token_ids == prompt + sent
    assert rest.sampling.max_tokens == 16 - len(sent)
    assert rest.sampling.min_tokens == max(0, 4 - len(sent))
    assert rest.replayed_tokens == len(sent)


def test_a_job_goes_to_the_preferred_worker_only_while_it_lives() -> None:
    assert lane_for("j", "p1", ["p1", "p2"], all_fit=True) == "p1"
    assert lane_for("j", "p3", ["p1", "p2"], all_fit=True) == COMMON_LANE
    assert lane_for("j", None, ["p1"], all_fit=True) == COMMON_LANE


def test_beside_workers_that_do_not_fit_jobs_are_spread_over_the_lanes_of_those_that_do() -> None:
    lanes = [lane_for(f"job-{n}", "misfit", ["p1", "p2"], all_fit=False) for n in range(100)]
    assert 30 < lanes.count("p1") < 70
    assert set(lanes) == {"p1", "p2"}
    assert lane_for("job-1", None, ["p1", "p2"], all_fit=False) == lanes[1], "an offer made again"
    assert lane_for("j", "p1", ["p1"], all_fit=False) == "p1"
    assert lane_for("j", None, [], all_fit=False) == COMMON_LANE


def test_queues_of_two_models_never_meet_and_hold_only_words_that_a_subject_may() -> None:
    assert queue_name("dynamo", "/models/Qwen3-32B/") == "dynamo_Qwen3-32B_prefill_queue"
    assert queue_name("dynamo", "/models/Qwen3-32B") == queue_name("dynamo", "/models/Qwen3-32B/")
    assert queue_name("dynamo", "org/name v1.5*") == "dynamo_name-v1-5-_prefill_queue"
