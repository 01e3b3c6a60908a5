"""Engines are found by name; nothing heavy is imported on the way."""

import importlib.metadata
import subprocess
import sys
from typing import Any

import pytest

from tandem.engines.ports import EngineSpec
from tandem.engines.registry import engine_for, engine_names, missing_library
from tandem.errors import ConfigError


def test_the_built_in_engines_are_known() -> None:
    assert {"vllm", "simulated"} <= set(engine_names())
    assert engine_for("simulated").__name__ == "SimulatedEngine"
    assert engine_for("vllm").__name__ == "VllmEngine"


@pytest.mark.parametrize(
    ("name", "words"),
    [("vlm", "did you mean vllm"), ("sglang", "no adapter for sglang"), ("x", "Known: simulated, vllm")],
)
def test_an_unknown_engine_is_refused_with_what_there_is(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        engine_for(name)


def test_a_package_adds_an_engine_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("mine", "tandem.engines.simulated:SimulatedEngine", "tandem.engines")

    def points(**wanted: Any) -> list[importlib.metadata.EntryPoint]:
        return [point] if wanted.get("name", "mine") == "mine" else []

    monkeypatch.setattr(importlib.metadata, "entry_points", points)
    assert "mine" in engine_names()
    assert engine_for("mine").__name__ == "SimulatedEngine"


def test_a_package_that_does_not_import_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("mine", "no_such_module:Engine", "tandem.engines")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: [point])
    with pytest.raises(ConfigError, match="does not import: No module named 'no_such_module'"):
        engine_for("mine")


def test_a_missing_library_says_what_to_install() -> None:
    message = missing_library("vllm", ImportError("no", name="vllm")).message
    assert "needs vllm" in message
    assert "pip install" in message


def test_settings_can_be_checked_without_the_engines_libraries() -> None:
    code = (
        "import sys; from tandem.engines.registry import engine_for;"
        "from tandem.engines.vllm.args import known_engine_keys;"
        "engine_for('vllm'), engine_for('simulated'), known_engine_keys();"
        "print([m for m in ('vllm', 'torch', 'nixl', 'zmq', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_engine_refuses_unknown_keys_when_it_is_built() -> None:
    spec = EngineSpec(model_path="/none", served_model_name="m", roles=(), engine_args={"blok_size": 16})
    with pytest.raises(ConfigError, match="did you mean block-size"):
        engine_for("simulated")(spec)
    with pytest.raises(ConfigError, match="did you mean block-size"):
        engine_for("vllm")(spec)
