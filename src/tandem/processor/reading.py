"""How the answers to one request are told apart: thoughts, text, tool calls."""

from dataclasses import dataclass

from tandem.core.openai_in import ChatRequest
from tandem.processor.parsers.choosing import Formats
from tandem.processor.parsers.ports import ReasoningFormat, Splitter, ToolFormat, ToolReader, Tools


@dataclass(frozen=True, slots=True)
class Reading:
    """What one request's answers are read with."""

    formats: Formats
    offered: Tools
    parallel_calls: bool

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """Special tokens that must be written out: the marks that are read."""
        both: tuple[ToolFormat | ReasoningFormat | None, ...] = (self.formats.tools, self.formats.reasoning)
        return tuple(token for form in both if form is not None for token in form.special_tokens)

    def splitter(self, prompt: str) -> Splitter | None:
        """A fresh splitter for the answer to `prompt`, if thoughts are split off."""
        return self.formats.reasoning.splitter(prompt) if self.formats.reasoning is not None else None

    def reader(self) -> ToolReader | None:
        """A fresh reader, if calls are looked for."""
        return self.formats.tools.reader(self.offered) if self.formats.tools is not None else None

    def call_id(self) -> str:
        """A fresh id for a call."""
        assert self.formats.tools is not None, "a call was read without a format"
        return self.formats.tools.call_id()


def reading_for(formats: Formats, request: ChatRequest, *, split: bool = True) -> Reading:
    """How to read the answers to `request`. Calls are looked for only where tools are offered.

    Args:
        split: whether thoughts are split off.
    """
    looks = bool(request.tools) and request.tool_choice != "none"
    functions = [tool["function"] for tool in request.tools or ()]
    return Reading(
        Formats(formats.tools if looks else None, formats.reasoning if split else None),
        {function["name"]: function.get("parameters") or {} for function in functions},
        request.parallel_tool_calls is not False,
    )
