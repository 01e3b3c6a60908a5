"""How the answers to one request are told apart: thoughts, text, tool calls."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from tandem.core.openai_in import ChatRequest
from tandem.core.request import Grammar
from tandem.errors import RequestError
from tandem.processor.grammars import answer_format, grammar_for, schema_grammar, structural_tag
from tandem.processor.parsers.call_list import JSON_LIST
from tandem.processor.parsers.choosing import Formats
from tandem.processor.parsers.enforcing import calls_or, list_of_calls, required_calls, strict_calls
from tandem.processor.parsers.ports import ReasoningFormat, Splitter, ToolFormat, ToolReader
from tandem.processor.tool_choice import ToolChoice, tool_choice


@dataclass(frozen=True, slots=True)
class Reading:
    """What one request's answers are read with."""

    formats: Formats
    choice: ToolChoice
    parallel_calls: bool
    prompt: str
    """The prompt's text, which may have opened a thought."""
    grammar: Grammar | None
    """What holds the model to the calls that were asked for."""

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """Special tokens that must be written out: the marks that are read."""
        both: tuple[ToolFormat | ReasoningFormat | None, ...] = (self.formats.tools, self.formats.reasoning)
        return tuple(token for form in both if form is not None for token in form.special_tokens)

    def splitter(self) -> Splitter | None:
        """A fresh splitter, if thoughts are split off."""
        return self.formats.reasoning.splitter(self.prompt) if self.formats.reasoning is not None else None

    def reader(self) -> ToolReader | None:
        """A fresh reader, if calls are looked for."""
        return self.formats.tools.reader(self.choice.tools) if self.formats.tools is not None else None

    def call_id(self) -> str:
        """A fresh id for a call."""
        assert self.formats.tools is not None, "a call was read without a format"
        return self.formats.tools.call_id()


def reading_for(
    formats: Formats,
    request: ChatRequest,
    prompt: str,
    *,
    split: bool = True,
    is_special: Callable[[str], bool] = lambda _: False,
) -> Reading:
    """How to read the answers to `request`. Calls are looked for only where tools are offered.

    Args:
        split: whether thoughts are split off.
        is_special: whether a mark is a special token of the model.
    Raises:
        RequestError: as `tool_choice`, or schemas that no engine would take.
    """
    choice, parallel = tool_choice(request), request.parallel_tool_calls is not False
    tools, reasoning = formats.tools, formats.reasoning if split else None
    single = choice.named or not parallel
    holdable = tools is not None and not any(map(is_special, tools.special_tokens))
    grammar: Grammar | None = None
    if choice.mode == "required":
        if reasoning is not None and (reasoning.tags is None or any(map(is_special, reasoning.tags))):
            reasoning = None  # no thought fits before the form
        if tools is not None and tools.form is not None and holdable:
            grammar = structural_tag(required_calls(tools.form, choice.tools, single=single), "tools")
        else:
            tools, grammar = replace(JSON_LIST, call_id=(tools or JSON_LIST).call_id), _listed(choice, single)
    elif choice.mode == "auto" and tools is not None and holdable:
        grammar = _free_or_formed(tools, choice, request, single)
    return Reading(Formats(None if choice.mode == "none" else tools, reasoning), choice, parallel, prompt, grammar)


def _free_or_formed(tools: ToolFormat, choice: ToolChoice, request: ChatRequest, single: bool) -> Grammar | None:
    """Where the model may call: calls or an answer by `response_format`; else strict functions hold in free text."""
    answer = answer_format(request) if choice.tools else None
    if answer is not None and tools.form is not None:
        return structural_tag(calls_or(tools.form, choice.tools, answer, single=single), "response_format")
    if not choice.strict or grammar_for(request) is not None:
        return None
    tag = strict_calls(tools, choice.tools, choice.strict, single=single)
    return None if tag is None else structural_tag(tag, "tools")


def _listed(choice: ToolChoice, single: bool) -> Grammar:
    try:
        return schema_grammar(list_of_calls(choice.tools, single=single), "tools")
    except ValueError as error:
        raise RequestError(f"tools: {error}", param="tools") from error
