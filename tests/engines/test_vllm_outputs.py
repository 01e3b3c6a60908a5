"""vLLM's outputs in our words, from stand-ins of its objects."""

from types import SimpleNamespace
from typing import Any

from tandem.core.request import GenerateRequest, Sampling, TokenLogprobs
from tandem.engines.vllm.outputs import OutputMapper, first_token_of
from tandem.engines.vllm.stats import EngineStats


def mapper(prompt: list[int] | None = None, **sampling: Any) -> OutputMapper:
    request = GenerateRequest(
        request_id="r", model="m", prompt_token_ids=prompt or [1, 2], sampling=Sampling(max_tokens=9, **sampling)
    )
    return OutputMapper(request)


def an_output(tokens: list[int], finish: str | None = None, **more: Any) -> Any:
    completion = SimpleNamespace(
        token_ids=tokens, finish_reason=finish, stop_reason=more.get("stop_reason"), logprobs=more.get("logprobs")
    )
    return SimpleNamespace(outputs=[completion], num_cached_tokens=64, prompt_logprobs=more.get("prompt_logprobs"))


def entry(logprob: float, rank: int) -> Any:
    return SimpleNamespace(logprob=logprob, rank=rank)


def test_the_end_of_sequence_is_a_stop_with_the_last_token() -> None:
    output = mapper().map(an_output([5, 2], "stop"))
    assert (output.finish_reason, output.stop_token_id, output.token_ids) == ("stop", 2, [5, 2])


def test_a_stop_token_is_named_by_vllm() -> None:
    output = mapper().map(an_output([5, 7], "stop", stop_reason=7))
    assert (output.finish_reason, output.stop_token_id) == ("stop", 7)


def test_a_limit_names_no_token() -> None:
    output = mapper().map(an_output([5], "length"))
    assert (output.finish_reason, output.stop_token_id) == ("length", None)


def test_cached_tokens_come_with_the_first_output_only() -> None:
    mapping = mapper()
    assert mapping.map(an_output([5])).cached_tokens == 64
    assert mapping.map(an_output([6])).cached_tokens is None


def test_logprobs_hold_the_chosen_token_and_the_likeliest_in_order() -> None:
    position = {9: entry(-4.0, 17), 3: entry(-0.5, 1), 4: entry(-1.0, 2)}
    output = mapper(logprobs=2).map(an_output([9], logprobs=[position]))
    assert output.logprobs == [TokenLogprobs(-4.0, 17, [(3, -0.5), (4, -1.0)])]
    chosen_only = mapper(logprobs=0).map(an_output([3], logprobs=[{3: entry(-0.5, 1)}]))
    assert chosen_only.logprobs == [TokenLogprobs(-0.5, 1, [])]


def test_prompt_logprobs_have_a_hole_for_the_first_token() -> None:
    positions = [None, {2: entry(-2.0, 3), 8: entry(-0.1, 1)}]
    output = mapper(prompt_logprobs=1).map(an_output([5], prompt_logprobs=positions))
    assert output.prompt_logprobs == [None, TokenLogprobs(-2.0, 3, [(8, -0.1)])]


def test_the_first_token_is_cut_off_a_merged_output() -> None:
    mapping = mapper(logprobs=0)
    merged = mapping.map(an_output([5, 6], "length", logprobs=[{5: entry(-1, 1)}, {6: entry(-2, 1)}]))
    first = first_token_of(merged)
    assert (first.token_ids, first.finish_reason, first.cached_tokens) == ([5], None, 64)
    assert first.logprobs == [TokenLogprobs(-1, 1, [])]


def test_transfer_counters_add_up_also_inside_several_connectors() -> None:
    stats = EngineStats()
    nixl = {"bytes_transferred": [10, 20], "transfer_duration": [0.5, 0.25], "num_failed_transfers": [1]}
    for connector in (nixl, {"NixlConnector": nixl}, None, {"Other": {"x": 1}}):
        stats.record(
            SimpleNamespace(
                num_waiting_reqs=2, num_skipped_waiting_reqs=1, kv_cache_usage=0.5, kv_connector_stats=connector
            ),
            0,
        )
    totals = stats.transfer_totals()
    assert (totals.kv_bytes, totals.transfers, totals.failures, totals.seconds) == (60, 4, 2, 1.5)
    assert (stats.waiting, stats.kv_usage) == (3, 0.5)
