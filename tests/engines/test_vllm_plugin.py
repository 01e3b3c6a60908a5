"""The cures for vLLM on a CPU: applied where they are needed, and loud when their target has moved."""

import logging
import os
import queue
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from tandem.engines import vllm_plugin
from tandem.engines.vllm import idle


class FakeConfig:
    """Stands in for NIXL's compiled settings object."""

    pthrDelay = 0
    useProgThread = True


def test_nixls_thread_sleeps_between_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    api = SimpleNamespace(nixlBind=SimpleNamespace(nixlAgentConfig=FakeConfig, nixlAgent="untouched"))
    monkeypatch.setattr(idle, "nixl_api", lambda: api)
    idle.let_nixl_idle()
    config = api.nixlBind.nixlAgentConfig()
    config.pthrDelay = 0
    config.useProgThread = False
    assert config.pthrDelay == idle.PROGRESS_DELAY_US
    assert config.useProgThread is False
    assert isinstance(config, FakeConfig), "the compiled agent takes no other type"
    assert api.nixlBind.nixlAgent == "untouched"


class FakeGloo:
    """Stands in for torch's process group: keeps what it is made with."""

    devices_made = 0

    class _Options:
        _timeout: object = "default"

    @classmethod
    def create_default_device(cls) -> object:
        cls.devices_made += 1
        return object()

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.made_with: tuple[Any, ...] = args
        self.named = kwargs


def test_process_groups_of_one_rank_share_a_gloo_device(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gloo(FakeGloo):
        pass

    monkeypatch.setitem(sys.modules, "torch.distributed.distributed_c10d", SimpleNamespace(ProcessGroupGloo=Gloo))
    idle.share_gloo_loop()
    assert Gloo.devices_made == 0, "a device has a thread, and an engine is forked yet"
    first, second = Gloo("store", 0, 1, timeout=7), Gloo("store", 0, 1)
    assert Gloo.devices_made == 1
    assert first.made_with[:3] == ("store", 0, 1)
    ours, others = first.made_with[3], second.made_with[3]
    assert ours._devices == others._devices
    assert (ours._timeout, others._timeout) == (7, "default")
    several = Gloo("store", 1, 2, timeout=7)
    assert (several.made_with, several.named) == (("store", 1, 2), {"timeout": 7}), "they have somebody to talk to"


def test_vllms_publisher_of_events_waits_longer_and_wakes_for_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(Queue=queue.Queue)
    monkeypatch.setitem(sys.modules, "vllm.distributed.kv_events", module)
    idle.let_events_wait()
    waiting = module.Queue[int](maxsize=3)
    began = time.monotonic()
    with pytest.raises(queue.Empty):
        waiting.get(timeout=0.02)
    assert time.monotonic() - began >= 0.1
    began = time.monotonic()
    threading.Timer(0.02, waiting.put, (7,)).start()
    assert waiting.get(timeout=10) == 7
    assert time.monotonic() - began < 5


class WaitingEngine:
    """An engine core with a request that waits for KV: each step computes nothing."""

    def __init__(self) -> None:
        self.input_queue: queue.Queue[int] = queue.Queue()
        self.scheduler = SimpleNamespace(has_requests=lambda: True)
        self.executes = False
        self.steps = 0

    def _process_engine_step(self) -> bool:
        self.steps += 1
        return self.executes


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> type[WaitingEngine]:
    class Core(WaitingEngine):
        pass

    monkeypatch.setitem(sys.modules, "vllm.v1.engine.core", SimpleNamespace(EngineCoreProc=Core))
    idle.back_off_polling()
    return Core


class Pauses:
    """A queue in which nothing arrives, and a clock that moves by a millisecond a look and by what is waited."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.queue: list[int] = []
        self.not_empty = self
        self.waited_s: list[float] = []
        self._now = 100.0
        monkeypatch.setattr(idle, "time", SimpleNamespace(monotonic=self._look))

    def __enter__(self) -> "Pauses":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wait(self, seconds: float) -> None:
        self.waited_s.append(seconds)
        self._now += seconds

    def _look(self) -> float:
        self._now += 0.001
        return self._now


def an_idle(core: type[WaitingEngine], pauses: Pauses) -> WaitingEngine:
    engine = core()
    engine.input_queue = pauses  # type: ignore[assignment]
    return engine


def test_an_engine_that_only_waits_looks_less_and_less_often(
    core: type[WaitingEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = Pauses(monkeypatch)
    engine = an_idle(core, pauses)
    for _ in range(300):
        engine._process_engine_step()
    assert pauses.waited_s == sorted(pauses.waited_s)
    assert pauses.waited_s[0] < 0.0002, "the first looks come at once"
    assert pauses.waited_s[-1] == idle._LONGEST_PAUSE_S


def test_a_request_wakes_an_engine_that_waits(core: type[WaitingEngine], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "_LONGEST_PAUSE_S", 10.0)
    monkeypatch.setattr(idle, "_PAUSE_SHARE", 1e6)
    engine = core()
    engine._process_engine_step()
    threading.Timer(0.05, engine.input_queue.put, (1,)).start()
    began = time.monotonic()
    engine._process_engine_step()
    engine._process_engine_step()  # it has arrived: no pause at all
    assert time.monotonic() - began < 5


def test_an_engine_that_computes_never_pauses(core: type[WaitingEngine], monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = Pauses(monkeypatch)
    engine = an_idle(core, pauses)
    for _ in range(10):
        engine._process_engine_step()
    engine.executes = True
    before = len(pauses.waited_s)
    for _ in range(100):
        engine._process_engine_step()
    assert len(pauses.waited_s) == before
    engine.executes = False
    engine._process_engine_step()
    assert len(pauses.waited_s) == before, "its waiting begins anew"


def test_a_cure_whose_target_moved_warns_and_names_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Renamed:
        pass

    monkeypatch.setattr(idle, "nixl_api", lambda: SimpleNamespace(nixlBind=SimpleNamespace(nixlAgentConfig=Renamed)))
    with caplog.at_level(logging.WARNING):
        vllm_plugin._apply(idle.let_nixl_idle)
    assert "cure=let_nixl_idle" in caplog.text
    assert "pthrDelay" in caplog.text


def test_a_child_dies_with_the_parent_that_it_is_bound_to() -> None:
    code = (
        "import os, sys, time\n"
        "from tandem.engines.vllm_plugin import bind_to_parent\n"
        "parent = os.getpid()\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    bind_to_parent(parent)\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(60)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.kill()
        began = time.monotonic()
        process.stdout.read()  # ends when the child has gone too, for it holds the other end
        assert time.monotonic() - began < 5


def test_only_the_named_parents_own_child_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    bound: list[int] = []
    monkeypatch.setattr(vllm_plugin, "bind_to_parent", bound.append)
    for value in ("", "1", "not a number"):
        monkeypatch.setenv("TANDEM_ENGINE_PARENT", value)
        vllm_plugin.die_with_parent()
    assert bound == []
    monkeypatch.setenv("TANDEM_ENGINE_PARENT", str(os.getppid()))
    vllm_plugin.die_with_parent()
    assert bound == [os.getppid()]
