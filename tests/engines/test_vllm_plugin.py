"""The cures for vLLM on a CPU: applied where they are needed, and loud when their target has moved."""

import logging
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from tandem.engines import vllm_plugin


class FakeConfig:
    """Stands in for NIXL's compiled settings object."""

    pthrDelay = 0
    useProgThread = True


def test_nixls_thread_sleeps_between_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    api = SimpleNamespace(nixlBind=SimpleNamespace(nixlAgentConfig=FakeConfig, nixlAgent="untouched"))
    monkeypatch.setattr(vllm_plugin, "_nixl_api", lambda: api)
    vllm_plugin.let_nixl_idle()
    config = api.nixlBind.nixlAgentConfig()
    config.pthrDelay = 0
    config.useProgThread = False
    assert config.pthrDelay == vllm_plugin.PROGRESS_DELAY_US
    assert config.useProgThread is False
    assert isinstance(config, FakeConfig), "the compiled agent takes no other type"
    assert api.nixlBind.nixlAgent == "untouched"


def test_a_cure_whose_target_moved_warns_and_names_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Renamed:
        pass

    monkeypatch.setattr(
        vllm_plugin, "_nixl_api", lambda: SimpleNamespace(nixlBind=SimpleNamespace(nixlAgentConfig=Renamed))
    )
    with caplog.at_level(logging.WARNING):
        vllm_plugin._apply(vllm_plugin.let_nixl_idle)
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
