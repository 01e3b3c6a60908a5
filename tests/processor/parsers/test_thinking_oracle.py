"""Our splitters of thoughts beside vLLM's; harmony's is in test_harmony_oracle.py.

White space at the borders is left out of the comparison: ours drops newlines there, since templates put them back.
"""

import importlib
import importlib.util
from collections.abc import Callable
from typing import NamedTuple

import pytest
from tests.processor.parsers.folding import split
from tests.processor.parsers.test_oracles import Vocabulary, mistral_package

from tandem.processor.parsers.ports import ReasoningFormat
from tandem.processor.parsers.thinking import DEEPSEEK_R1, MISTRAL, QWEN3

__all__ = ["mistral_package"]
pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
    pytest.mark.timeout(180),  # importing vLLM takes 7 s on an idle machine
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),  # vLLM's own
]


class Family(NamedTuple):
    """A format, a prompt's end, and vLLM's reader of the same."""

    form: ReasoningFormat
    prompt: str
    module: str
    attribute: str


FAMILIES = {
    "qwen3": Family(QWEN3, "assistant\n", "vllm.parser.qwen3", "Qwen3Parser"),
    "qwen3, opened": Family(QWEN3, "assistant\n<think>\n", "vllm.parser.qwen3", "Qwen3Parser"),
    "deepseek_r1": Family(DEEPSEEK_R1, "", "vllm.reasoning.deepseek_r1_reasoning_parser", "DeepSeekR1ReasoningParser"),
    "mistral": Family(MISTRAL, "[/INST]", "vllm.parser.mistral", "MistralParser"),
}
LOST = "vLLM drops closing tags that close nothing"
ANYWHERE = "vLLM lets a thought begin anywhere"
SAID = "an answer without a thought is content here: the prompt has opened none"
CASES = [
    ("whole", "{0}\nhm\n{1}\n\nYes.", {}),
    ("lines inside", "{0}hm\n\nhm{1}Yes.\n\nNo.", {}),
    ("empty", "{0}\n\n{1}\n\nYes.", {}),
    ("nothing between", "{0}{1}Yes.", {}),
    ("nothing after", "{0}hm{1}", {}),
    ("cut off", "{0}cut off", {}),
    ("white space first", " {0}a{1}b", {}),
    ("half a tag", "{0}a < b </thin {1}b", {}),
    ("nothing", "", {}),
    ("no thought", "Yes.", {"qwen3": SAID}),
    ("opened by the prompt", "hm{1}Yes.", {"qwen3": SAID, "mistral": LOST}),
    ("closed twice", "{0}a{1}b{1}c", {"qwen3": LOST, "qwen3, opened": LOST, "mistral": LOST}),
    ("two thoughts", "{0}a{1}b{0}c{1}d", {"qwen3": LOST, "qwen3, opened": LOST, "mistral": ANYWHERE}),
    ("a thought in the middle", "I say {0}no{1}", dict.fromkeys(FAMILIES, ANYWHERE)),
]
"""A name, an answer with `{0}` and `{1}` for the tags, and of which families vLLM reads it otherwise, and why."""


@pytest.fixture(scope="module")
def vllm(mistral_package: None) -> Callable[[Family, str], tuple[str, str]]:
    """Reads an answer with vLLM's reader of a family: thought and content."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

    request = ChatCompletionRequest(messages=[{"role": "user", "content": "x"}])

    def reading(family: Family, text: str) -> tuple[str, str]:
        reader = getattr(importlib.import_module(family.module), family.attribute)
        thought, content = reader(Vocabulary("[THINK]", "[/THINK]", "[ARGS]"), None).extract_reasoning(text, request)
        return (thought or "").strip(), (content or "").strip()

    return reading


@pytest.mark.parametrize(
    ("name", "text", "differs"),
    [
        pytest.param(name, text, differs.get(name, ""), id=f"{name}: {case}")
        for name in FAMILIES
        for case, text, differs in CASES
    ],
)
def test_thoughts_are_what_vllm_finds_or_the_difference_is_known(
    vllm: Callable[[Family, str], tuple[str, str]], name: str, text: str, differs: str
) -> None:
    family = FAMILIES[name]
    assert family.form.tags is not None
    answer = text.format(*family.form.tags)
    thought, content = split(family.form.splitter(family.prompt), [answer])
    same = (thought.strip(), content.strip()) == vllm(family, answer)
    assert same is (not differs), differs or "vLLM finds something else"
