"""Which formats a model speaks, by its card: what its chat template says, then what its architecture is.

The template is the better witness: it shows the marks to the model. The order of the tables is that of certainty,
the most particular mark first.
"""

from dataclasses import dataclass
from typing import Final

from tandem.processor.parsers.ports import ReasoningFormat, ToolFormat
from tandem.processor.parsers.registry import reasoning_format, tool_format

_TOOL_MARKS: Final = ((("<tool_call>",), "hermes"),)
"""Texts that a template of this format has, all of them."""
_REASONING_MARKS: Final = (
    (("[THINK]",), "mistral"),
    (("<think>",), "qwen3"),
)


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
    if tools == "auto":
        tools = _by_marks(template, _TOOL_MARKS) or "none"
    if reasoning == "auto":
        reasoning = _by_marks(template, _REASONING_MARKS) or "none"
    return Formats(tool_format(tools), reasoning_format(reasoning))


def _by_marks(template: str, table: tuple[tuple[tuple[str, ...], str], ...]) -> str | None:
    return next((name for marks, name in table if all(mark in template for mark in marks)), None)
