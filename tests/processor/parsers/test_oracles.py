"""Our readers beside vLLM's, and the forms that models are held to beside XGrammar.

vLLM's reader of Mistral's calls takes the names of four marks and some types, which it does not use to read, from a
package that a CPU host has not: they stand in for it. Harmony's is in test_harmony_oracle.py.
"""

import enum
import importlib
import importlib.util
import json
import logging
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from tests.processor.parsers.corpus import (
    CORPUS,
    DEEPSEEK_V3,
    DEEPSEEK_V31,
    MISTRAL,
    MISTRAL_LISTS,
    NOW,
    TOOLS,
    Case,
    as_openai,
)
from tests.processor.parsers.folding import Found, read

from tandem.core.openai_in import ChatRequest, JsonSchema, ResponseFormat
from tandem.processor.grammars import Thoughts, after_thoughts
from tandem.processor.parsers.choosing import Formats
from tandem.processor.parsers.registry import reasoning_format, tool_format
from tandem.processor.reading import reading_for

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
    pytest.mark.timeout(180),  # importing vLLM takes 7 s on an idle machine
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),  # vLLM's own
]

_MARKS = (
    *("<tool_call>", "</tool_call>", "<think>", "</think>", "<|python_tag|>", "<|im_start|>", "<|im_end|>"),
    *(
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁calls▁end｜>",
        "<｜tool▁call▁begin｜>",
        "<｜tool▁call▁end｜>",
        "<｜tool▁sep｜>",
    ),
    "[TOOL_CALLS]",
)
MARKLESS = [case for case in CORPUS["pythonic"] if "<|python_" not in case.text]
"""Llama 3.2 has none, and vLLM another reader for it."""
_CASES = {
    "hermes": ("vllm.tool_parsers.hermes_tool_parser", "Hermes2ProToolParser", CORPUS["hermes"]),
    "llama3_json": ("vllm.tool_parsers.llama_tool_parser", "Llama3JsonToolParser", CORPUS["llama3_json"]),
    "pythonic": ("vllm.tool_parsers.llama4_pythonic_tool_parser", "Llama4PythonicToolParser", CORPUS["pythonic"]),
    "pythonic, without marks": ("vllm.tool_parsers.pythonic_tool_parser", "PythonicToolParser", MARKLESS),
    "deepseek_v3": ("vllm.tool_parsers.deepseekv3_tool_parser", "DeepSeekV3ToolParser", DEEPSEEK_V3),
    "deepseek_v31": ("vllm.tool_parsers.deepseekv31_tool_parser", "DeepSeekV31ToolParser", DEEPSEEK_V31),
    "qwen3_coder": ("vllm.parser.qwen3", "Qwen3Parser", CORPUS["qwen3_coder"]),
    "mistral": ("vllm.tool_parsers.mistral_tool_parser", "MistralToolParser", MISTRAL),
    "mistral, older": ("vllm.tool_parsers.mistral_tool_parser", "MistralToolParser", MISTRAL_LISTS),
}


class Vocabulary:
    """As much of a tokenizer as vLLM's readers ask for: every mark is a token, and nothing else."""

    all_special_ids: list[int] = []
    all_special_tokens: list[str] = []

    def __init__(self, *more: str) -> None:
        self._marks = (*_MARKS, *more)

    def get_vocab(self) -> dict[str, int]:
        return {mark: i for i, mark in enumerate(self._marks, 100)}

    def encode(self, text: str, **_: Any) -> list[int]:
        return [self.get_vocab().get(text, 0)]

    def decode(self, ids: list[int], **_: Any) -> str:
        return "".join(self._marks[i - 100] for i in ids if i >= 100)


class MistralMarks(enum.StrEnum):
    """As Mistral's own package names them."""

    tool_calls = "[TOOL_CALLS]"
    args = "[ARGS]"
    begin_think = "[THINK]"
    end_think = "[/THINK]"


@pytest.fixture(scope="module")
def mistral_package() -> Iterator[None]:
    """What vLLM's reader imports of Mistral's package, while vLLM is imported; never when that is installed."""
    if importlib.util.find_spec("mistral_common") is not None:
        yield
        return
    marks = ModuleType("mistral_common.tokens.tokenizers.base")
    calls = ModuleType("mistral_common.protocol.instruct.tool_calls")
    marks.SpecialTokens = MistralMarks  # type: ignore[attr-defined]
    for name in ("NamedToolChoice", "Tool", "ToolChoice", "ToolChoiceEnum"):
        setattr(calls, name, type(name, (), {}))
    names = [module.__name__.rsplit(".", depth)[0] for module in (marks, calls) for depth in range(1, 4)]
    made = {name: ModuleType(name) for name in names} | {module.__name__: module for module in (marks, calls)}
    import vllm.tool_parsers  # noqa: F401 - what it imports looks for the package too, and must not find it

    sys.modules.update(made)
    importlib.import_module("vllm.parser.mistral")
    for name in made:
        del sys.modules[name]
    yield


@pytest.fixture(scope="module")
def vllm(mistral_package: None) -> Iterator[Callable[[str, str], tuple[str, list[tuple[str, str]]]]]:
    """Reads a text with vLLM's reader of that name: content and calls."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

    request = ChatCompletionRequest(messages=[{"role": "user", "content": "x"}], tools=as_openai(), tool_choice="auto")
    logging.disable(logging.CRITICAL)  # it logs a traceback for every text that is no call

    def reading(name: str, text: str) -> tuple[str, list[tuple[str, str]]]:
        module, attribute, _ = _CASES[name]
        more = {"chat_template_kwargs": {"enable_thinking": False}} if attribute == "Qwen3Parser" else {}
        vocabulary = Vocabulary("[ARGS]") if name == "mistral" else Vocabulary()
        parser = getattr(importlib.import_module(module), attribute)(vocabulary, request.tools, **more)
        extract = getattr(parser, "extract_tool_calls_from_content", None) or parser.extract_tool_calls
        found = extract(text, request)
        return found.content or "", [(call.function.name, call.function.arguments) for call in found.tool_calls]

    yield reading
    logging.disable(logging.NOTSET)


def meant(content: str, calls: list[tuple[str, str]]) -> tuple[str, list[tuple[str, Any]]]:
    """What a client makes of it: arguments decoded, white space at the borders of text left out."""
    return " ".join(content.split()), [(name, decoded(arguments)) for name, arguments in calls]


def decoded(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except json.JSONDecodeError:
        return arguments


def ours(found: Found) -> tuple[str, list[tuple[str, Any]]]:
    texts = " ".join(item for item in found if isinstance(item, str))
    return meant(texts, [item for item in found if not isinstance(item, str)])


@pytest.mark.parametrize(
    ("name", "case"),
    [pytest.param(name, case, id=f"{name}: {case.name}") for name, (_, _, cases) in _CASES.items() for case in cases],
)
def test_calls_are_what_vllm_finds_or_the_difference_is_known(
    vllm: Callable[[str, str], tuple[str, list[tuple[str, str]]]], name: str, case: Case
) -> None:
    same = ours(case.found) == meant(*vllm(name, case.text))
    assert same is (not case.differs), case.differs or "vLLM finds something else"


# ── forms that models are held to ────────────────────────────────────────────────────────────────

REQUIRED = {
    "hermes": '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>',
    "qwen3_coder": "<tool_call>\n<function=now>\n\n</function>\n</tool_call>",
    "llama3_json": '{"name": "now", "parameters": {}}',
    "mistral": "[TOOL_CALLS]now[ARGS]{}",
    "deepseek_v3": (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜>"
        "<｜tool▁calls▁end｜>"
    ),
    "deepseek_v31": (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    ),
    "harmony": '[{"name": "now", "parameters": {}}]',
    "pythonic": '[{"name": "now", "parameters": {}}]',
}
"""An answer that is one call, as each format's form has it."""


def holds(grammar: Any, text: str) -> bool:
    """Whether XGrammar lets a model write `text`, and then end."""
    import xgrammar

    made = (
        xgrammar.Grammar.from_structural_tag(grammar.value)
        if grammar.kind == "structural_tag"
        else xgrammar.Grammar.from_json_schema(grammar.value)
    )
    info = xgrammar.TokenizerInfo([chr(i) for i in range(32, 127)] + ["</s>"], stop_token_ids=[95])
    matcher = xgrammar.GrammarMatcher(xgrammar.GrammarCompiler(info).compile_grammar(made))
    return bool(matcher.accept_string(text)) and bool(matcher.accept_token(95))


def asked(name: str, choice: Any, reasoning: str = "none", **more: Any) -> Any:
    formats = Formats(tool_format(name), reasoning_format(reasoning))
    request = ChatRequest(messages=[], tools=more.pop("tools", as_openai()), tool_choice=choice, **more)
    return reading_for(formats, request, more.pop("prompt", ""))


@pytest.mark.parametrize("name", REQUIRED)
def test_a_required_call_is_held_to_a_form_that_is_read_back(name: str) -> None:
    reading = asked(name, "required")
    assert holds(reading.grammar, REQUIRED[name])
    assert not holds(reading.grammar, "")
    assert not holds(reading.grammar, "Hello.")
    assert read(reading.formats.tools, [REQUIRED[name]], TOOLS) == [NOW]


def test_a_named_call_is_that_one_and_alone() -> None:
    grammar = asked("hermes", {"type": "function", "function": {"name": "weather"}}).grammar
    call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
    assert holds(grammar, call)
    assert not holds(grammar, REQUIRED["hermes"]), "another function"
    assert not holds(grammar, f"{call}\n{call}"), "a second call"
    assert not holds(grammar, call.replace('"Oslo"', "7")), "arguments that are not as the schema says"
    assert holds(asked("hermes", "required").grammar, f"{call}\n{call}")
    assert not holds(asked("hermes", "required", parallel_tool_calls=False).grammar, f"{call}\n{call}")


def test_a_model_that_thinks_may_think_first() -> None:
    grammar = asked("hermes", "required", "qwen3").grammar
    first = after_thoughts(grammar, Thoughts("<think>", "</think>", begun=False))
    assert holds(first, f"<think>\nWhat now?\n</think>\n\n{REQUIRED['hermes']}")
    assert holds(first, REQUIRED["hermes"])
    opened = after_thoughts(grammar, Thoughts("<think>", "</think>", begun=True))
    assert holds(opened, f"What now?\n</think>\n\n{REQUIRED['hermes']}")
    assert not holds(opened, "What now?")


def test_marks_that_are_special_tokens_are_no_form_for_an_engine() -> None:
    formats = Formats(tool_format("mistral"), reasoning_format("mistral"))
    request = ChatRequest(messages=[], tools=as_openai(), tool_choice="required")
    reading = reading_for(formats, request, "[THINK]", is_special=lambda mark: mark.startswith("["))
    assert reading.grammar is not None
    assert reading.grammar.kind == "json_schema"
    assert reading.formats.reasoning is None, "a list has no room for a thought"
    assert len(reading.call_id()) == 9, "Mistral's templates take only such ids"


def test_strict_functions_have_their_arguments_by_the_schema_in_free_text_too() -> None:
    tools = as_openai()
    tools[0]["function"]["strict"] = True
    assert asked("hermes", "auto").grammar is None
    for choice in (None, "auto"):
        grammar = asked("hermes", choice, tools=tools).grammar
        call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
        assert holds(grammar, f"Let me see. {call} Done.")
        assert holds(grammar, "No call at all.")
        assert not holds(grammar, call.replace('"Oslo"', "7"))
        assert holds(grammar, '<tool_call>\n{"name": "write", "arguments": {"text": 7}}\n</tool_call>')
    own = asked("hermes", "auto", tools=tools, guided_regex="a+")
    assert own.grammar is None, "the client's own form of the answer rules"


SKY: Any = {"type": "object", "properties": {"sky": {"type": "string"}}, "required": ["sky"]}
FORMED = ResponseFormat(type="json_schema", json_schema=JsonSchema(name="sky", schema=SKY))


@pytest.mark.parametrize("name", [name for name in REQUIRED if name not in ("harmony", "pythonic")])
def test_with_a_form_of_the_answer_the_model_calls_or_answers_in_it(name: str) -> None:
    reading = asked(name, "auto", response_format=FORMED)
    assert holds(reading.grammar, REQUIRED[name])
    assert holds(reading.grammar, '{"sky": "snow"}')
    assert not holds(reading.grammar, '{"sky": 7}')
    assert not holds(reading.grammar, "Snow.")
    assert read(reading.formats.tools, [REQUIRED[name]], TOOLS) == [NOW]
    assert read(reading.formats.tools, ['{"sky": "snow"}'], TOOLS) == ['{"sky": "snow"}']


def test_a_model_that_thinks_may_think_before_a_call_or_an_answer_in_a_form() -> None:
    grammar = asked("hermes", "auto", "qwen3", response_format=ResponseFormat(type="json_object")).grammar
    thought = after_thoughts(grammar, Thoughts("<think>", "</think>", begun=False))
    assert holds(thought, f"<think>\nWhat now?\n</think>\n\n{REQUIRED['hermes']}")
    assert holds(thought, '<think>\nWhat now?\n</think>\n\n{"sky": "snow"}')
    assert not holds(thought, "<think>\nWhat now?\n</think>\n\nSnow.")
    alone = asked("hermes", "none", response_format=ResponseFormat(type="json_object"))
    assert alone.grammar is None, "without tools the form rules by itself"
