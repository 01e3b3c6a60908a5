"""Pruning, grouping, GPUs, restarts, merged metrics: tables, no process and no loop."""

import itertools
from pathlib import Path

import pytest

from tandem.errors import ConfigError
from tandem.graph.exposition import merge
from tandem.graph.fit import WorkerFit, shortage, summary
from tandem.graph.gpus import GpuClaims, GpuNeed, allocate, gpus_per_worker, visible_gpus
from tandem.graph.grouping import Placed, group
from tandem.graph.pruning import closure, prune
from tandem.graph.restarts import GiveUp, Restart, RestartRules, after_crash

STOCK = {
    "Frontend": ["Processor"],
    "Processor": ["VllmWorker", "Router"],
    "Router": ["VllmWorker"],
    "VllmWorker": ["PrefillWorker"],
    "PrefillWorker": [],
}


def chain(*names: str) -> list[tuple[str, str]]:
    return list(itertools.pairwise(names))


@pytest.mark.parametrize(
    ("entry", "links", "started"),
    [
        ("Frontend", chain("Frontend", "Processor", "Router"), ["Router", "Processor", "Frontend"]),
        ("Frontend", chain("Frontend", "Processor", "VllmWorker"), ["VllmWorker", "Processor", "Frontend"]),
        (
            "Frontend",
            chain("Frontend", "Processor", "VllmWorker", "PrefillWorker"),
            ["PrefillWorker", "VllmWorker", "Processor", "Frontend"],
        ),
        (
            "Frontend",
            chain("Frontend", "Processor", "Router", "VllmWorker"),
            ["VllmWorker", "Router", "Processor", "Frontend"],
        ),
        ("VllmWorker", [], ["PrefillWorker", "VllmWorker"]),
        ("PrefillWorker", [], ["PrefillWorker"]),
        ("Frontend", chain("Frontend", "VllmWorker"), ["VllmWorker", "Frontend"]),
    ],
)
def test_links_prune_what_is_started(entry: str, links: list[tuple[str, str]], started: list[str]) -> None:
    assert closure(entry, prune(STOCK, links)) == started


def test_a_circle_of_dependencies_ends() -> None:
    assert closure("A", {"A": ("B",), "B": ("A",)}) == ["B", "A"]


def placed(name: str, workers: int = 1, *, alone: bool = False, namespace: str = "dynamo") -> Placed:
    return Placed(name, namespace, workers, alone)


def test_linked_services_without_a_gpu_share_a_process_and_workers_do_not() -> None:
    services = [placed("Prefill", 2, alone=True), placed("Worker", alone=True), placed("Router"), placed("Front")]
    edges = {"Front": ("Router",), "Router": ("Worker",), "Worker": ("Prefill",)}
    assert group(services, edges) == [("Prefill",), ("Prefill",), ("Worker",), ("Router", "Front")]


def test_services_that_are_not_linked_live_apart() -> None:
    assert group([placed("A"), placed("B")], {}) == [("A",), ("B",)]


def test_a_service_with_several_workers_shares_with_nobody() -> None:
    assert group([placed("B", 2), placed("A")], {"A": ("B",)}) == [("B",), ("B",), ("A",)]


def test_what_lives_with_a_front_door_lives_in_each_of_its_processes() -> None:
    edges = {"Front": ("Router",), "Router": ("Worker",)}
    services = [placed("Worker", 2, alone=True), placed("Router"), Placed("Front", "dynamo", 3, False, door=True)]
    assert group(services, edges) == [("Worker",)] * 2 + [("Router", "Front")] * 3
    services[1] = placed("Router", 2)
    assert group(services, edges) == [("Worker",)] * 2 + [("Router",)] * 2 + [("Front",)] * 3


def test_no_workers_start_no_process() -> None:
    assert group([placed("B", 0), placed("A")], {"A": ("B",)}) == [("A",)]


@pytest.mark.parametrize(
    ("asked", "parallel", "count"),
    [
        (1, {}, 1),
        (1, {"tensor_parallel_size": 2}, 2),
        (2, {"tensor_parallel_size": 1}, 2),
        (1, {"tensor_parallel_size": 2, "pipeline_parallel_size": 2}, 4),
        (0, {"tensor_parallel_size": 2}, 0),
    ],
)
def test_parallel_sizes_count(asked: int, parallel: dict[str, int], count: int) -> None:
    assert gpus_per_worker(asked, parallel) == count


def test_gpus_are_handed_out_in_order() -> None:
    needs = [GpuNeed("P.0", 1), GpuNeed("P.1", 1), GpuNeed("D.0", 2)]
    assert allocate(needs, ["0", "1", "2", "3", "4"]) == {"P.0": ("0",), "P.1": ("1",), "D.0": ("2", "3")}


def test_too_few_gpus_are_refused_with_both_counts() -> None:
    with pytest.raises(ConfigError, match=r"3 needed \(P.0 1, D.0 2\), 2 free here"):
        allocate([GpuNeed("P.0", 1), GpuNeed("D.0", 2)], ["0", "1"])


@pytest.mark.parametrize(
    ("listed", "ids"), [("0,2", ["0", "2"]), ("", []), ("-1", []), ("GPU-aa,GPU-bb", ["GPU-aa", "GPU-bb"])]
)
def test_visible_devices_limit_what_is_used(listed: str, ids: list[str], tmp_path: Path) -> None:
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": listed}, driver=tmp_path) == ids


def test_a_host_without_a_driver_has_no_gpu(tmp_path: Path) -> None:
    assert visible_gpus({}, driver=tmp_path / "absent") == []


def test_two_supervisors_do_not_claim_the_same_gpu(tmp_path: Path) -> None:
    first, second = GpuClaims(tmp_path), GpuClaims(tmp_path)
    assert first.claim(["0", "1", "2"], 2) == ["0", "1"]
    assert second.claim(["0", "1", "2"], 2) == ["2"]
    first.close()
    assert second.claim(["0", "1"], 1) == ["0"]
    second.close()


RULES = RestartRules(max_restarts=3, restart_window_s=100.0, restart_delay_s=0.5, restart_delay_max_s=1.5)


@pytest.mark.parametrize(
    ("crashes", "verdict"),
    [
        ([10.0], Restart(0.5)),
        ([5.0, 10.0], Restart(1.0)),
        ([1.0, 5.0, 10.0], Restart(1.5)),
        ([1.0, 2.0, 5.0, 10.0], GiveUp(4)),
        ([-200.0, -150.0, -100.0, 10.0], Restart(0.5)),
    ],
)
def test_crashes_slow_restarts_down_and_then_end_them(crashes: list[float], verdict: Restart | GiveUp) -> None:
    assert after_crash(RULES, crashes, now=10.0) == verdict


@pytest.mark.parametrize(
    ("fit", "said"),
    [
        (WorkerFit("VllmWorker", 65_500_000_000, 1, 139_000_000_000), None),
        (
            WorkerFit("VllmWorker", 65_500_000_000, 1, 32_000_000_000, 0.95),
            "VllmWorker: 65.5 GB of weights on 1 GPU of 32.0 GB (95% usable) cannot fit; with more GPUs: "
            "--VllmWorker.tensor-parallel-size=4 --VllmWorker.ServiceArgs.resources.gpu=4",
        ),
        (WorkerFit("VllmWorker", 65_500_000_000, 4, 32_000_000_000, 0.95), None),
        (
            WorkerFit("PrefillWorker", 8_000_000_000, 0, 10_000_000_000, workers=2),
            "PrefillWorker: 16.0 GB of weights for 2 workers, 10.0 GB of memory is free",
        ),
    ],
)
def test_weights_that_cannot_fit_are_refused_with_both_figures(fit: WorkerFit, said: str | None) -> None:
    assert shortage(fit) == said


def test_what_was_found_is_one_line() -> None:
    fits = [WorkerFit("P", 65_500_000_000, 1, 150_000_000_000), WorkerFit("D", 65_500_000_000, 1, 150_000_000_000)]
    assert summary(fits, 2) == (
        "GPUs seen 2 of 150.0 GB, used 2; P: 65.5 GB of weights over 1 GPU(s); D: 65.5 GB of weights over 1 GPU(s)"
    )


def test_pages_of_metrics_become_one() -> None:
    page = '# HELP a_total Help.\n# TYPE a_total counter\na_total 1.0\na_total{x="1"} 2.0\n'
    assert merge({"P.0": page, "P.1": page + "# TYPE b gauge\nb 3\n# EOF\n"}).splitlines() == [
        "# HELP a_total Help.",
        "# TYPE a_total counter",
        'a_total{process="P.0"} 1.0',
        'a_total{process="P.0",x="1"} 2.0',
        'a_total{process="P.1"} 1.0',
        'a_total{process="P.1",x="1"} 2.0',
        "# TYPE b gauge",
        'b{process="P.1"} 3',
    ]
