"""The replay: exact on cases that can be worked out by hand, the same every time, and right in its accounts."""

import json
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from tandem.cli.bench import run
from tandem.cli.bench_policies import policy_named
from tandem.errors import ConfigError
from tandem.router.kv_rule import KvWeights
from tandem.simulate.engine import EngineModel
from tandem.simulate.policies import Deaf
from tandem.simulate.replay import Stage, play
from tandem.simulate.report import Report, pooled_hit_rate
from tandem.simulate.trace import TraceRequest, all_distinct, hot_prefix, read_trace

MODEL = EngineModel(cache_tokens=51_200, prefill_tokens_per_s=1000.0, block_size_tokens=512, step_tokens=100_000)
ONE = Stage(workers=1, model=MODEL)


class First(Deaf):
    """Always the first that is alive."""

    def choose(self, request: TraceRequest, alive: Sequence[int], now: float) -> int:
        return alive[0]


def a_prompt(number: int, at_s: float, blocks: Sequence[int], *, output: int = 1) -> TraceRequest:
    return TraceRequest(str(number), at_s, len(blocks) * 512, output, np.array(blocks, np.uint64))


def replayed(policy: str, requests: Sequence[TraceRequest], stage: Stage) -> Report:
    return play(
        requests, policy_named(policy, model=stage.model, workers=stage.workers, seed=3, weights=KvWeights()), stage
    )


def test_a_queue_and_a_cache_by_hand() -> None:
    report = play([a_prompt(0, 0, [1, 2]), a_prompt(1, 0.5, [1, 2, 3, 4]), a_prompt(2, 9, [1, 2])], First(), ONE)
    first, second = 1.024, 1.024 - 0.5 + 1.024
    assert report.ttft_s == pytest.approx([first, second, 0.001])  # the last: one token has to be computed
    assert report.hit_rate == pytest.approx(4 / 8)
    assert report.requests == [3]


def test_tokens_come_a_step_apart_and_prefill_delays_them() -> None:
    alone = play([a_prompt(0, 0, [1], output=101)], First(), ONE)
    assert alone.itl_mean_s == pytest.approx(MODEL.decode_step_s + MODEL.decode_seq_s, rel=1e-3)
    disturbed = play([a_prompt(0, 0, [1], output=101), a_prompt(1, 1.0, [2, 3])], First(), ONE)
    assert disturbed.itl_p99_s > 1.0


def test_the_least_recently_used_tail_is_evicted_first() -> None:
    requests = [a_prompt(0, 0, list(range(1, 61))), a_prompt(1, 100, list(range(101, 161)))]
    report = play([*requests, a_prompt(2, 200, list(range(1, 61)))], First(), ONE)
    assert report.hit_rate == pytest.approx(40 / 180), "100 blocks: the second prompt pushed out 20 of the first's tail"


def test_pooled_is_one_cache_of_all() -> None:
    requests = [a_prompt(0, 0, [1, 2]), a_prompt(1, 1, [3]), a_prompt(2, 2, [1, 2])]
    assert pooled_hit_rate(requests, 3) == pytest.approx(2 / 5)
    assert pooled_hit_rate(requests, 2) == pytest.approx(1 / 5)


@pytest.mark.parametrize("policy", ["kv", "round-robin", "least-loaded", "prefix-hash", "power-of-two", "random"])
def test_every_policy_serves_everybody_and_repeats_itself(policy: str) -> None:
    requests, stage = hot_prefix(300, rate_per_s=8.0, seed=5), Stage(workers=4, deaths=((5.0, 2), (9.0, -1)))
    once, again = replayed(policy, requests, stage), replayed(policy, requests, stage)
    assert once == again
    assert len(once.ttft_s) == 300
    assert all(t > 0 for t in once.ttft_s)
    assert sum(once.requests) >= 300, "those of the dead were sent again"


def test_cache_routing_wins_where_prompts_share_and_loses_nothing_where_they_do_not() -> None:
    stage = Stage(workers=4)
    shared = [
        a_prompt(i, i * 0.5, [*range(100 * (i % 101) + 1, 100 * (i % 101) + 20), 20_000 + i], output=50)
        for i in range(400)
    ]
    assert replayed("kv", shared, stage).ttft_mean_s < 0.6 * replayed("round-robin", shared, stage).ttft_mean_s
    for load in (hot_prefix(400, rate_per_s=6.0, seed=1), all_distinct(400, rate_per_s=2.0, seed=1)):
        assert replayed("kv", load, stage).ttft_mean_s < 1.2 * replayed("round-robin", load, stage).ttft_mean_s


def test_a_slow_worker_is_found_out() -> None:
    stage = Stage(workers=4, speeds=(1.0, 1.0, 1.0, 0.25))
    load = all_distinct(600, rate_per_s=1.5, seed=1)
    kv = replayed("kv", load, stage)
    assert kv.requests[3] < 0.6 * kv.requests[0]
    assert kv.ttft_mean_s < 0.7 * replayed("round-robin", load, stage).ttft_mean_s


def test_the_command_reads_a_trace_and_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "trace.jsonl"
    lines = [
        f'{{"timestamp": {i * 900}, "input_length": 1400, "output_length": 9, "hash_ids": [0, {i % 3 + 1}, {i + 9}]}}'
        for i in range(40)
    ]
    trace.write_text("\n".join(lines))
    assert run(["replay", "--trace", str(trace), "--policy", "kv,round-robin", "--workers", "2"], program="t") == 0
    printed = capsys.readouterr().out
    assert "round-robin" in printed
    assert "mean TTFT" in printed
    assert run(["replay", "--trace", str(trace), "--policy", "kv", "--json"], program="t") == 0
    assert '"hit_rate"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no request"),
        ('{"timestamp": 0}', "line 1"),
        ('{"timestamp": 0, "input_length": 5, "output_length": 1, "hash_ids": [-1]}', "line 1"),
        ("no json", "line 1"),
    ],
)
def test_a_file_that_is_no_trace_is_refused(tmp_path: Path, text: str, says: str) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text(text)
    with pytest.raises(ConfigError, match=says):
        read_trace(trace)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_trace(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="no policy"):
        policy_named("best", model=MODEL, workers=1, seed=0, weights=KvWeights())


def test_the_replay_draws_a_curve_for_each_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace, picture = tmp_path / "t.jsonl", tmp_path / "p.svg"
    lines = [{"timestamp": i * 100, "input_length": 2000, "output_length": 3, "hash_ids": [i]} for i in range(50)]
    trace.write_text("\n".join(json.dumps(line) for line in lines))
    asked = ["replay", "--trace", str(trace), "--policy", "kv,round-robin", "--plot", str(picture)]
    assert run(asked, program="t") == 0
    drawn = ElementTree.parse(picture).getroot()
    curves = drawn.findall("{http://www.w3.org/2000/svg}polyline")
    heights = [[float(point.split(",")[1]) for point in curve.attrib["points"].split()] for curve in curves]
    assert [points == sorted(points, reverse=True) for points in heights] == [True, True], "shares only grow"
    assert {text.text for text in drawn.iter()} >= {"kv", "round-robin"}
