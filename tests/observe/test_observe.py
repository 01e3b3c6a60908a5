"""Metrics count and render; stories stay bounded; log levels parse."""

import io
import logging
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.parser import text_string_to_metric_families

from tandem.core.story import Stage
from tandem.errors import ConfigError
from tandem.observe import logs, metrics, reference, stages
from tandem.observe.familiar import Familiar
from tandem.observe.stories import Stories

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


@pytest.fixture(autouse=True)
def _fresh() -> None:
    metrics.reset()


def test_the_page_parses_and_holds_every_family() -> None:
    metrics.FALLBACKS.labels("no_prefill_worker").inc()
    metrics.REQUESTS_RUNNING.inc()
    metrics.KV_PULL_SECONDS.observe(0.018)
    metrics.INSTANCES.labels("VllmWorker").read_from(lambda: 3)
    page, content_type = metrics.render("text/plain")
    assert content_type.startswith("text/plain")
    found = {family.name: family for family in text_string_to_metric_families(page.decode())}
    assert {metric.name.removesuffix("_total") for metric in metrics.TABLE} <= set(found)
    assert found["tandem_fallback"].samples[0].labels == {"reason": "no_prefill_worker"}
    assert found["tandem_instances"].samples[0].value == 3
    buckets = {
        s.labels["le"]: s.value for s in found["tandem_kv_transfer_seconds"].samples if s.name.endswith("_bucket")
    }
    assert (buckets["0.01"], buckets["0.02"], buckets["+Inf"]) == (0, 1, 1)


@pytest.fixture
def counted() -> CollectorRegistry:
    """Where an engine of this test's own counts: vLLM of other tests does so in the process's registry."""
    return CollectorRegistry()


@pytest.fixture
def familiar(counted: CollectorRegistry) -> Familiar:
    return Familiar(
        running=metrics.ENGINE_RUNNING,
        waiting=metrics.ENGINE_WAITING,
        used=metrics.KV_BLOCKS_USED,
        capacity=metrics.KV_BLOCKS_CAPACITY,
        counted=counted,
    )


def samples_of(familiar: Familiar) -> dict[str, tuple[dict[str, str], float]]:
    return {sample.name: (sample.labels, sample.value) for family in familiar.collect() for sample in family.samples}


def test_a_workers_figures_have_vllms_names_too(familiar: Familiar) -> None:
    metrics.ENGINE_WAITING.set(3)
    metrics.KV_BLOCKS_USED.set(30)
    metrics.KV_BLOCKS_CAPACITY.set(40)
    assert samples_of(familiar) == {}, "a front end has no engine"
    familiar.model = "qwen"
    labels = {"model_name": "qwen", "engine": "0"}
    assert samples_of(familiar) == {
        "vllm:num_requests_running": (labels, 0.0),
        "vllm:num_requests_waiting": (labels, 3.0),
        "vllm:kv_cache_usage_perc": (labels, 0.75),
    }


def test_a_workers_page_has_them() -> None:
    metrics.FAMILIAR.model = "qwen"
    assert b"\nvllm:num_requests_waiting{" in metrics.render("")[0]


def test_an_engine_that_counts_itself_is_shown_as_it_counts(familiar: Familiar, counted: CollectorRegistry) -> None:
    familiar.model = "qwen"
    Gauge("vllm:num_requests_waiting", "Its own.", ["model_name"], registry=counted).labels("qwen").set(7)
    Gauge("other", "Not of an engine.", registry=counted)
    assert samples_of(familiar) == {"vllm:num_requests_waiting": ({"model_name": "qwen"}, 7.0)}


def test_openmetrics_is_served_when_asked_for() -> None:
    page, content_type = metrics.render("application/openmetrics-text; version=1.0.0")
    assert "openmetrics" in content_type
    assert page.endswith(b"# EOF\n")


def test_every_counter_is_named_total_and_every_name_is_ours_once() -> None:
    names = [metric.name for metric in metrics.TABLE]
    assert len(set(names)) == len(names)
    for metric in metrics.TABLE:
        assert metric.name.startswith("tandem_")
        assert metric.name.endswith("_total") == (metric.kind == "counter")


def test_wrong_labels_are_a_bug() -> None:
    with pytest.raises(AssertionError, match="tandem_fallback_total wants"):
        metrics.FALLBACKS.labels()


def test_the_reference_page_is_up_to_date(tmp_path: Path) -> None:
    assert reference.main([str(DOCS), "--check"]) == 0
    copy = tmp_path / "deep" / "metrics.md"
    assert reference.main([str(copy), "--check"]) == 1
    assert reference.main([str(copy)]) == 0
    assert copy.read_text(encoding="utf-8") == DOCS.read_text(encoding="utf-8")


def test_a_story_is_found_by_request_id_response_id_and_alias() -> None:
    stories = Stories(instance="front", clock=lambda: 100.0)
    stories.add("r-1", stages.TOKENIZED, duration_s=0.5, prompt_tokens=7)
    stories.extend("r-1", [Stage(name=stages.ACCEPTED, at=99.0, instance="worker")])
    stories.alias("mine", "r-1")
    for name in ("r-1", "chatcmpl-r-1", "cmpl-r-1", "mine"):
        told = stories.get(name)
        assert told is not None
        assert [(s.name, s.at, s.instance) for s in told] == [
            ("accepted", 99.0, "worker"),
            ("tokenized", 99.5, "front"),
        ]
    assert b'"prompt_tokens":7' in (stories.json("r-1") or b"")
    assert stories.get("r-2") is None


def test_old_stories_and_endless_stories_are_cut() -> None:
    stories = Stories(limit=2)
    for request_id in ("a", "b", "c"):
        stories.add(request_id, stages.ACCEPTED)
    assert (stories.get("a"), stories.recent()) == (None, ["c", "b"])
    for _ in range(1000):
        stories.add("c", stages.REROUTED)
    page = stories.page("c")
    assert page is not None
    assert len(page.stages) + page.dropped == 1001
    assert len(page.stages) == 512


def test_take_forgets() -> None:
    stories = Stories()
    stories.add("a", stages.DECODE)
    assert [stage.name for stage in stories.take("a")] == ["decode"]
    assert stories.take("a") == []


def test_every_stage_name_is_explained() -> None:
    names = {value for key, value in vars(stages).items() if key.isupper() and isinstance(value, str)}
    assert names == set(stages.STAGES)


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("", {"": logging.INFO}),
        ("debug", {"": logging.DEBUG}),
        ("warn,tandem.router=trace", {"": logging.WARNING, "tandem.router": logging.DEBUG}),
        ("info,tandem::frontend=error", {"": logging.INFO, "tandem.frontend": logging.ERROR}),
    ],
)
def test_levels_are_read_as_dynamo_writes_them(text: str, levels: dict[str, int]) -> None:
    assert logs.parse_levels(text) == levels


def test_an_unknown_level_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="'loud'"):
        logs.parse_levels("loud")


def test_tandem_log_wins_over_dyn_log() -> None:
    assert logs.levels_from({"DYN_LOG": "debug", "TANDEM_LOG": "error"}) == "error"
    assert logs.levels_from({"DYN_LOG": "debug"}) == "debug"
    assert logs.levels_from({}) == "info"


@pytest.mark.parametrize(("form", "want"), [("text", "[decode-0] room.test"), ("json", '"process":"decode-0"')])
def test_lines_name_the_process_and_repeating_configure_does_not_double_them(form: str, want: str) -> None:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    stream = io.StringIO()
    try:
        logs.configure("info", form=form, stream=io.StringIO())
        logs.configure("info", form=form, stream=stream, process="decode-0")
        logging.getLogger("room.test").info("prefill.requeued request_id=%s attempt=%d", "r-1", 2)
    finally:
        root.handlers, root.level = before, level
    assert stream.getvalue().count("prefill.requeued request_id=r-1 attempt=2") == 1
    assert want in stream.getvalue()


def test_fields_quote_what_needs_it() -> None:
    assert logs.fields(a=1, b="x y", c=None, d=0.25, e="") == 'a=1 b="x y" d=0.25 e=""'
