"""Graph and configuration become processes: what `serve` will start, and what it says first."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tandem.errors import ConfigError
from tandem.graph import service
from tandem.graph.configure import Configured, configure
from tandem.graph.declare import depends, forget_links, info_of
from tandem.graph.loading import Graph, graph_of
from tandem.graph.plan import Machine, Plan, plan
from tandem.graph.services import BUILT_IN, Frontend, PrefillWorker, Processor, Router, VllmWorker
from tandem.settings.document import Deployment, load_deployment

CONFIG = """
Common: {model: m}
VllmWorker: {common-configs: [model], remote-prefill: true, ServiceArgs: {resources: {gpu: 1}}}
PrefillWorker: {common-configs: [model], ServiceArgs: {workers: 2, resources: {gpu: 1}}}
"""


@pytest.fixture(autouse=True)
def _no_links() -> Iterator[None]:
    forget_links()
    yield
    forget_links()


def made(graph: Graph, text: str = CONFIG, *, gpus: tuple[str, ...] = ()) -> tuple[Plan, Configured, Deployment]:
    deployment = load_deployment(text, origin="c.yaml")
    configured = configure(deployment, graph, {}, known=BUILT_IN)
    return plan(graph, configured, deployment, Machine(gpus=gpus)), configured, deployment


def test_the_guides_front_is_one_process() -> None:
    Frontend.link(Processor).link(Router)
    planned, _, _ = made(graph_of(Frontend))
    assert [(p.name, p.services, p.launch, p.entry) for p in planned.processes] == [
        ("Frontend", ("Router", "Processor", "Frontend"), "fork", True)
    ]


def test_front_ends_that_share_a_port_are_told_apart_by_number() -> None:
    Frontend.link(Processor).link(Router)
    planned, _, _ = made(graph_of(Frontend), CONFIG + "\nFrontend: {ServiceArgs: {workers: 2}}\n")
    assert [(p.name, p.services, p.workers, p.shares_door, p.entry) for p in planned.processes] == [
        (f"Frontend.{i}", ("Router", "Processor", "Frontend"), 2, True, True) for i in range(2)
    ]


def test_an_engine_that_there_is_not_is_a_fault_that_names_those_there_are() -> None:
    text = CONFIG.replace("VllmWorker: {", "VllmWorker: {engine: vlm, ")
    with pytest.raises(ConfigError, match=r"VllmWorker: engine 'vlm' is not known; did you mean 'vllm'\?.*simulated"):
        made(graph_of(VllmWorker), text)


def test_workers_on_gpus_are_spawned_and_get_their_own() -> None:
    Frontend.link(Processor).link(VllmWorker).link(PrefillWorker)
    planned, _, _ = made(graph_of(Frontend), gpus=("4", "5", "6"))
    assert {p.name: (p.gpus, p.launch, p.preload) for p in planned.processes} == {
        "Frontend": (None, "fork", None),
        "PrefillWorker.0": (("4",), "spawn", None),
        "PrefillWorker.1": (("5",), "spawn", None),
        "VllmWorker.0": (("6",), "spawn", None),
    }


def test_workers_on_a_cpu_are_forked_from_a_warm_zygote_and_that_is_said_once() -> None:
    planned, _, _ = made(graph_of(VllmWorker))
    assert {p.name: (p.gpus, p.launch, p.preload) for p in planned.processes} == {
        "VllmWorker.0": (None, "fork", "vllm"),
        "PrefillWorker.0": (None, "fork", "vllm"),
        "PrefillWorker.1": (None, "fork", "vllm"),
    }
    assert planned.notices == (
        "no GPU on this host: PrefillWorker, VllmWorker on the CPU, whatever resources.gpu says",
    )


def test_too_few_gpus_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 needed"):
        made(graph_of(VllmWorker), gpus=("0",))


def test_a_simulated_engine_holds_no_gpu() -> None:
    planned, _, _ = made(graph_of(PrefillWorker), "PrefillWorker: {model: m, engine: simulated}", gpus=("0",))
    assert [(p.gpus, p.launch) for p in planned.processes] == [(None, "fork")]


def test_parallel_sizes_beyond_the_gpus_asked_for_are_said() -> None:
    text = "PrefillWorker: {model: m, tensor-parallel-size: 2, ServiceArgs: {resources: {gpu: 1}}}"
    planned, _, _ = made(graph_of(PrefillWorker), text, gpus=("0", "1"))
    assert planned.processes[0].gpus == ("0", "1")
    assert "resources.gpu is 1, its parallel sizes need 2: 2 used" in planned.notices[0]


def test_only_one_service_is_started_when_asked() -> None:
    graph = graph_of(VllmWorker, only="VllmWorker")
    assert list(graph.services) == ["VllmWorker"]
    with pytest.raises(ConfigError, match="--service-name Nobody"):
        graph_of(VllmWorker, only="Nobody")


def test_known_sections_are_checked_although_they_are_not_started() -> None:
    with pytest.raises(ConfigError, match="unknown key 'remote-prefil'; did you mean 'remote-prefill'"):
        made(graph_of(PrefillWorker), "PrefillWorker: {model: m}\nVllmWorker: {model: m, remote-prefil: true}")


def test_engine_keys_go_to_the_engine_and_misspelt_ones_do_not() -> None:
    _, configured, _ = made(graph_of(PrefillWorker), "PrefillWorker: {model: m, block-size: 32, remote_prefill: true}")
    assert configured.services["PrefillWorker"].engine_args == {"block_size": 32}
    with pytest.raises(ConfigError, match="'blok-size'; did you mean 'block-size'"):
        made(graph_of(PrefillWorker), "PrefillWorker: {model: m, blok-size: 32}")


def test_engine_keys_of_the_front_are_noted_and_not_used() -> None:
    _, configured, _ = made(graph_of(Processor, only="Processor"), "Processor: {model: m, block-size: 32}")
    assert configured.notices == ("Processor: block-size not used here; the workers' registration says it",)


def test_the_yamls_namespace_rules() -> None:
    text = "PrefillWorker: {model: m, ServiceArgs: {dynamo: {namespace: other}}}"
    _, configured, _ = made(graph_of(PrefillWorker), text)
    assert configured.planes.namespace == "other"


def test_a_namespace_that_would_not_count_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"write each service's as ServiceArgs: {dynamo: {namespace: other}}"):
        made(graph_of(PrefillWorker), "PrefillWorker: {model: m}\nPlanes: {namespace: other}")


def test_what_runs_elsewhere_is_not_started_and_must_be_called_by_somebody() -> None:
    @service()
    class Back: ...

    @service()
    class Front:
        back = depends(Back)

    assert list(graph_of(Front).services) == ["Back", "Front"]
    assert list(graph_of(Front, elsewhere=["Back"]).services) == ["Front"]
    with pytest.raises(ConfigError, match="--depends Bak: nothing here depends on it; did you mean 'Back'"):
        graph_of(Front, elsewhere=["Bak"])


def test_another_graphs_section_is_a_notice_and_a_near_miss_is_a_fault() -> None:
    _, configured, _ = made(graph_of(PrefillWorker), "PrefillWorker: {model: m}\nElsewhere: {a: 1}")
    assert configured.notices == ("section Elsewhere belongs to no service that is started here",)
    with pytest.raises(ConfigError, match="unknown section 'PrefilWorker'; did you mean 'PrefillWorker'"):
        made(graph_of(PrefillWorker), "PrefillWorker: {model: m}\nPrefilWorker: {a: 1}")


def test_a_users_service_reads_its_own_keys_and_its_decorator_is_the_default() -> None:
    @service(workers=3, dynamo={"namespace": "mine"})
    class Back: ...

    @service(dynamo={"namespace": "mine"})
    class Front:
        back = depends(Back)

    graph = graph_of(Front)
    planned, configured, _ = made(graph, "Front: {anything: 1}\nBack: {ServiceArgs: {workers: 2}}")
    assert [p.name for p in planned.processes] == ["Front", "Back.0", "Back.1"]
    assert configured.services["Front"].own_keys == {"anything": 1}
    assert configured.planes.namespace == "mine"
    assert info_of(Front).depends == {"back": Back}
    assert replace(planned.processes[0], worker=0).entry
