"""Which formats a model speaks, by its card: what its chat template says, else what its architecture is.

The template is the better witness, since it shows the model its own marks. It is read as text, never run for this.
"""

from dataclasses import dataclass
from typing import Final

from tandem.processor.parsers.ports import ReasoningFormat, ToolFormat
from tandem.processor.parsers.registry import reasoning_format, tool_format

_TOOL_MARKS: Final = (
    (("<|channel|>", "<|message|>"), "harmony"),
    (("<arg_key>",), "none"),  # GLM's calls, which look like Hermes' at first
    (("<tool_call>", "<function="), "qwen3_coder"),
    (("<tool_call>", "arguments"), "hermes"),
    (("<｜tool▁calls▁begin｜>", "```"), "deepseek_v3"),
    (("<｜tool▁calls▁begin｜>",), "deepseek_v31"),
    (("[TOOL_CALLS]",), "mistral"),
    (("func_name1(",), "pythonic"),
    (("<|header_start|>", '"parameters": '), "llama3_json"),
    (("<|python_start|>",), "pythonic"),
    (("<|python_tag|>",), "llama3_json"),
    (("<|start_header_id|>", '"parameters": '), "llama3_json"),
)
"""Texts that a template has, all of them, and the format; the first that fits."""
_REASONING_MARKS: Final = (
    (("<|channel|>", "<|message|>"), "harmony"),
    (("[THINK]",), "mistral"),
    (("</think>",), "qwen3"),
)
_BY_ARCHITECTURE: Final = {
    "GptOssForCausalLM": ("harmony", "harmony"),
    "gpt_oss": ("harmony", "harmony"),
    "Llama4ForConditionalGeneration": ("pythonic", "none"),
    "llama4": ("pythonic", "none"),
}
"""Formats of calls and thoughts of models that have one form of each, whatever their template shows."""


@dataclass(frozen=True, slots=True)
class Formats:
    """What a model's answers are read with."""

    tools: ToolFormat | None
    reasoning: ReasoningFormat | None


def formats_for(
    template: str, architectures: tuple[str, ...] = (), *, tools: str = "auto", reasoning: str = "auto"
) -> Formats:
    """The formats of a model.

    Args:
        template: text of its chat template.
        architectures: `architectures` and `model_type` of its config.json.
        tools: the setting `tool_call_parser`.
        reasoning: the setting `reasoning_parser`.
    Raises:
        ConfigError: a setting names a format that is not there.
    """
    by_architecture = next(
        (_BY_ARCHITECTURE[one] for one in architectures if one in _BY_ARCHITECTURE), ("none", "none")
    )
    if tools == "auto":
        tools = _by_marks(template, _TOOL_MARKS) or by_architecture[0]
    if reasoning == "auto":
        reasoning = _by_marks(template, _REASONING_MARKS) or by_architecture[1]
    return Formats(tool_format(tools), reasoning_format(reasoning))


def _by_marks(template: str, table: tuple[tuple[tuple[str, ...], str], ...]) -> str | None:
    return next((name for marks, name in table if all(mark in template for mark in marks)), None)
