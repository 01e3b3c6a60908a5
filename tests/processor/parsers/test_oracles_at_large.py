"""Calls that nobody wrote by hand: what we find in a well-formed answer is what vLLM finds."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.processor.parsers.corpus import TOOLS, hermes, llama, mistral, mistral_list, section, v3, v31
from tests.processor.parsers.folding import CUTS, portions, read
from tests.processor.parsers.test_oracles import meant, mistral_package, ours, pytestmark, vllm

from tandem.processor.parsers.registry import tool_format

__all__ = ["mistral_package", "pytestmark", "vllm"]

Call = tuple[str, str]
_TEXTS = st.text(st.sampled_from("aé🌧北\"'\\{}[](),:;=<>/ \n\t`|"), max_size=12)
_VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-1e6, 1e6).map(lambda x: x + 0.5) | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)
_ARGUMENTS = st.dictionaries(st.sampled_from(["x", "y_1", "Zed"]), _VALUES, max_size=3)
"""Names that no schema has: vLLM changes what does not fit one, for some families."""
_CALLS = st.lists(st.tuples(st.sampled_from(sorted(TOOLS)), _ARGUMENTS), min_size=1, max_size=3)


def python(name: str, arguments: dict[str, Any]) -> str:
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def as_json(calls: list[tuple[str, dict[str, Any]]]) -> list[Call]:
    return [(name, json.dumps(arguments, ensure_ascii=False)) for name, arguments in calls]


WRITERS: dict[str, Callable[[list[tuple[str, dict[str, Any]]]], str]] = {
    "hermes": lambda calls: "\n".join(hermes(*call) for call in as_json(calls)),
    "llama3_json": lambda calls: "; ".join(llama(*call) for call in as_json(calls)),
    "pythonic": lambda calls: f"[{', '.join(python(*call) for call in calls)}]",
    "deepseek_v3": lambda calls: section(*(v3(*call) for call in as_json(calls))),
    "deepseek_v31": lambda calls: section(*(v31(*call) for call in as_json(calls))),
    "mistral": lambda calls: "".join(mistral(*call) for call in as_json(calls)),
    "mistral, older": lambda calls: mistral_list(*as_json(calls)),
}
"""How each family writes calls. Qwen3-Coder writes values without their types: its corpus has them one by one."""


@pytest.mark.parametrize("name", WRITERS)
def test_well_formed_calls_are_found_as_they_were_written_and_as_vllm_finds_them(
    vllm: Callable[[str, str], tuple[str, list[Call]]], name: str
) -> None:
    form = tool_format(name.split(",")[0])
    assert form is not None

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(calls=_CALLS, cuts=CUTS)
    def check(calls: list[tuple[str, dict[str, Any]]], cuts: list[int]) -> None:
        text = WRITERS[name](calls)
        found = ours(read(form, portions(text, cuts), TOOLS))
        assert found == ("", calls)
        assert found == meant(*vllm(name, text))

    check()
