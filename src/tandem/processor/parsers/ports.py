"""What a reader of tool calls and a splitter of thoughts are, and how a format describes itself."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import msgspec


class CallBegun(msgspec.Struct, frozen=True, gc=False):
    """The model calls this function; its arguments follow."""

    name: str


class Arguments(msgspec.Struct, frozen=True, gc=False):
    """More of the arguments' JSON text of the call that began last."""

    text: str


Item = str | CallBegun | Arguments
"""A plain string is text of the answer."""

Tools = Mapping[str, Mapping[str, Any]]
"""Name of each function offered to its JSON schema (`parameters`; empty when it takes none)."""


class ToolReader(Protocol):
    """One sequence's content: text, and calls in between. Portions of the text do not matter."""

    @property
    def malformed(self) -> int:
        """Calls so far that could not be read, or not as JSON: they are text, or arguments as the model wrote them."""

    def may_pass(self, text: str) -> bool:
        """Whether `feed(text)` would give back just `text`: a cheap test, which may say no in doubt."""

    def feed(self, text: str) -> list[Item]:
        """What is certain now, in order; no empty strings."""

    def close(self) -> list[Item]:
        """What was held back. The answer is over."""


class Split(NamedTuple):
    """New text of both sides."""

    reasoning: str
    content: str


class Splitter(Protocol):
    """One sequence's text: thoughts apart from content. Portions of the text do not matter."""

    @property
    def thinking(self) -> bool:
        """Whether the text so far ends inside a thought."""

    @property
    def over(self) -> bool:
        """Whether all further text is content, as it comes."""

    def may_think(self, text: str) -> bool:
        """Whether `text`, coming next, is thought as it comes and changes nothing else. Cheap; says no in doubt."""

    def feed(self, text: str) -> Split:
        """What `text` adds to each side."""

    def close(self) -> Split:
        """What was held back. The answer is over."""


def openai_call_id() -> str:
    """An id as OpenAI makes them."""
    return f"call_{uuid.uuid4().hex[:24]}"


class CallForm(NamedTuple):
    """How calls are written, for an engine that holds a model to it: `begin`, the arguments, `end`."""

    begin: str
    """Text before the arguments, with `{name}` for the function's name."""
    end: str
    separator: str = ""
    """Text between calls."""
    trigger: str = ""
    """What every call, or all of them together, begins with; empty where free text may do that too."""
    before: str = ""
    """Text before all calls, beginning with the trigger."""
    after: str = ""
    """Text after all calls."""
    style: Literal["json", "qwen_xml"] = "json"
    """How the arguments are written, as XGrammar names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFormat:
    """How a family of models writes tool calls. Entry points of group `tandem.tool_parsers` name one of these."""

    name: str
    reader: Callable[[Tools], ToolReader]
    """A fresh reader, for one sequence."""
    special_tokens: tuple[str, ...] = ()
    """Marks that are special tokens in some tokenizers: they are written out even where others are skipped."""
    call_id: Callable[[], str] = openai_call_id
    """A fresh id of a call."""
    form: CallForm | None = None
    """What a model is held to when it must call. None, or where its marks are special tokens, which are no text to
    an engine's grammar: to a JSON list of calls instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningFormat:
    """How a family of models writes thoughts. Entry points of group `tandem.reasoning_parsers` name one of these."""

    name: str
    splitter: Callable[[str], Splitter]
    """A fresh splitter, for one sequence; its argument is the prompt's text, which may have opened the thought."""
    tags: tuple[str, str] | None = None
    """What a thought at the answer's beginning stands between: a form asked for then begins after it."""
    special_tokens: tuple[str, ...] = ()
    """As `ToolFormat`'s."""
