"""Formats by name: built-in ones, names that vLLM gives them, and those of other packages."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Final, TypeVar

from tandem.errors import ConfigError
from tandem.processor.parsers.deepseek import DEEPSEEK_V3, DEEPSEEK_V31
from tandem.processor.parsers.harmony import HARMONY, HARMONY_THOUGHTS
from tandem.processor.parsers.hermes import HERMES
from tandem.processor.parsers.llama3 import LLAMA3_JSON
from tandem.processor.parsers.mistral import MISTRAL as MISTRAL_CALLS
from tandem.processor.parsers.ports import ReasoningFormat, ToolFormat
from tandem.processor.parsers.pythonic import PYTHONIC
from tandem.processor.parsers.qwen3_coder import QWEN3_CODER
from tandem.processor.parsers.thinking import DEEPSEEK_R1, MISTRAL, QWEN3

TOOL_GROUP: Final = "tandem.tool_parsers"
REASONING_GROUP: Final = "tandem.reasoning_parsers"
_TOOLS: Final = {
    form.name: form
    for form in (DEEPSEEK_V3, DEEPSEEK_V31, HARMONY, HERMES, LLAMA3_JSON, MISTRAL_CALLS, PYTHONIC, QWEN3_CODER)
}
_REASONING: Final = {form.name: form for form in (DEEPSEEK_R1, HARMONY_THOUGHTS, MISTRAL, QWEN3)}
_TOOL_ALIASES: Final = {
    "gpt_oss": "harmony",
    "llama4_json": "llama3_json",
    "llama4_pythonic": "pythonic",
    "openai": "harmony",
    "qwen3": "hermes",
    "qwen3_json": "hermes",
    "qwen3_xml": "qwen3_coder",
    "qwen25": "hermes",
}
"""What vLLM and others call them."""
_REASONING_ALIASES: Final = {
    "deepseek_v3": "qwen3",
    "deepseek_v31": "qwen3",
    "gpt_oss": "harmony",
    "magistral": "mistral",
    "openai_gptoss": "harmony",
}

_Format = TypeVar("_Format", ToolFormat, ReasoningFormat)


def tool_format(name: str) -> ToolFormat | None:
    """The format of tool calls of that name; None for `none`; `_` and `-` are the same.

    Raises:
        ConfigError: there is none, or it does not load; the message lists what there is.
    """
    return _named(name, "tool_call_parser", TOOL_GROUP, _TOOLS, _TOOL_ALIASES)


def reasoning_format(name: str) -> ReasoningFormat | None:
    """The format of thoughts of that name, likewise. Raises as `tool_format`."""
    return _named(name, "reasoning_parser", REASONING_GROUP, _REASONING, _REASONING_ALIASES)


def _named(
    name: str, param: str, group: str, built_in: Mapping[str, _Format], aliases: Mapping[str, str]
) -> _Format | None:
    wanted = name.replace("-", "_")
    if wanted == "none":
        return None
    known = built_in.get(aliases.get(wanted, wanted))
    if known is not None:
        return known
    others: dict[str, EntryPoint] = {entry.name.replace("-", "_"): entry for entry in entry_points(group=group)}
    if wanted not in others:
        names = ", ".join(["auto", *sorted({*built_in, *aliases, *others}), "none"])
        raise ConfigError(f"{param} {name!r} is not there; choose from {names}", param=param)
    entry = others[wanted]
    try:
        found: _Format = entry.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{param} {name!r} ({entry.value}) does not load: {error}", param=param) from error
    return found
