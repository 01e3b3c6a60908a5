"""The form that a client asks of an answer, however it is spelt, as one `Grammar`.

OpenAI says `response_format`, vLLM `structured_outputs` and formerly `guided_json` and its kin. Sizes and nesting
are checked here; whether a form compiles, the engine's adapter tells.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from tandem.core.bounds import MAX_GRAMMAR_BYTES, MAX_SCHEMA_NESTING
from tandem.core.openai_in import RequestFields, ResponseFormat, StructuredOutputs
from tandem.core.request import Grammar
from tandem.core.shapes import shown
from tandem.errors import RequestError
from tandem.processor.parsers.ports import ReasoningFormat


def grammar_for(request: RequestFields) -> Grammar | None:
    """The form of the answer, or None for free text.

    Raises:
        RequestError: more than one form, or one that is too large or nested too deeply; `param` names the field.
    """
    found = list(_asked(request))
    if len(found) > 1:
        first, second = found[0].field, found[1].field
        raise RequestError(f"{second}: {first} constrains the answer already; send one of them", param=second)
    return found[0] if found else None


def answer_format(request: RequestFields) -> Any:
    """What `response_format` asks of an answer in words, as part of a structural tag; None where it asks for nothing.

    Raises:
        RequestError: as `grammar_for`.
    """
    form = request.response_format
    if form is None or form.type not in ("json_object", "json_schema"):
        return None
    grammar = grammar_for(request)
    return None if grammar is None else as_format(grammar)


class Thoughts(NamedTuple):
    """What may stand before the form."""

    open: str
    close: str
    begun: bool
    """The prompt has opened the thought."""


def thoughts_before(form: ReasoningFormat | None, prompt: str, *, goes_on: bool) -> Thoughts | None:
    """The thought that the answer to `prompt` may begin with; None where there is none, or the prompt has closed it.

    Args:
        goes_on: the prompt ends inside the answer.
    """
    if form is None or form.tags is None:
        return None
    if form.splitter(prompt).thinking:
        return Thoughts(*form.tags, begun=True)
    if goes_on or prompt.rstrip().endswith(form.tags[1]):
        return None
    return Thoughts(*form.tags, begun=False)


def after_thoughts(grammar: Grammar, thoughts: Thoughts) -> Grammar:
    """The same form, with room for a thought before it. A structural tag of the older kind stays as it is."""
    form = as_format(grammar)
    if form is None:
        return grammar
    begin = "" if thoughts.begun else thoughts.open
    thought: Any = {"type": "tag", "begin": begin, "content": {"type": "any_text"}, "end": thoughts.close}
    if not thoughts.begun:
        thought = {"type": "or", "elements": [thought, {"type": "const_string", "value": ""}]}
    newlines = {"type": "regex", "pattern": "\n{0,2}"}
    tag = {"type": "structural_tag", "format": {"type": "sequence", "elements": [thought, newlines, form]}}
    return Grammar(kind="structural_tag", value=msgspec.json.encode(tag).decode(), field=grammar.field)


def as_format(grammar: Grammar) -> Any:
    """A grammar as part of a structural tag; None for a structural tag of the older kind."""
    match grammar.kind:
        case "json_object":
            return {"type": "json_schema", "json_schema": {"type": "object"}}
        case "json_schema":
            return {"type": "json_schema", "json_schema": msgspec.json.decode(grammar.value)}
        case "regex":
            return {"type": "regex", "pattern": grammar.value}
        case "choice":
            choices = msgspec.json.decode(grammar.value)
            return {"type": "or", "elements": [{"type": "const_string", "value": choice} for choice in choices]}
        case "grammar":
            return {"type": "grammar", "grammar": grammar.value}
        case "structural_tag":
            return msgspec.json.decode(grammar.value).get("format")


def _asked(request: RequestFields) -> Iterator[Grammar]:
    if request.response_format is not None:
        yield from _from_format(request.response_format)
    if request.structured_outputs is not None:
        yield from _from_structured(request.structured_outputs)
    if request.guided_json is not None:
        yield schema_grammar(request.guided_json, "guided_json")
    if request.guided_regex is not None:
        yield Grammar(kind="regex", value=request.guided_regex, field="guided_regex")
    if request.guided_choice is not None:
        yield _choice(request.guided_choice, "guided_choice")
    if request.guided_grammar is not None:
        yield Grammar(kind="grammar", value=request.guided_grammar, field="guided_grammar")


def _from_format(form: ResponseFormat) -> Iterator[Grammar]:
    match form.type:
        case "json_object":
            yield Grammar(kind="json_object", field="response_format")
        case "json_schema":
            field = "response_format.json_schema.schema"
            if form.json_schema is None or form.json_schema.schema is None:
                raise RequestError(f"{field} is missing: json_schema needs it", param=field)
            yield schema_grammar(form.json_schema.schema, field)
        case "structural_tag":
            if (form.format is None) == (form.structures is None):
                message = "response_format: a structural_tag needs either format or structures"
                raise RequestError(message, param="response_format.format")
            tag: dict[str, Any] = {"type": "structural_tag", "format": form.format}
            if form.structures is not None:
                tag = {"type": "structural_tag", "structures": form.structures, "triggers": form.triggers or []}
            yield structural_tag(tag, "response_format")


def _from_structured(asked: StructuredOutputs) -> Iterator[Grammar]:
    place = "structured_outputs"
    if asked.json is not None:
        yield schema_grammar(asked.json, f"{place}.json")
    if asked.regex is not None:
        yield Grammar(kind="regex", value=asked.regex, field=f"{place}.regex")
    if asked.choice is not None:
        yield _choice(asked.choice, f"{place}.choice")
    if asked.grammar is not None:
        yield Grammar(kind="grammar", value=asked.grammar, field=f"{place}.grammar")
    if asked.json_object:
        yield Grammar(kind="json_object", field=f"{place}.json_object")
    if asked.structural_tag is not None:
        yield structural_tag(asked.structural_tag, f"{place}.structural_tag")


def schema_grammar(schema: Any, field: str) -> Grammar:
    """A JSON schema that the client gave in `field`. Raises `RequestError` when it is none, or over the bounds."""
    return Grammar(kind="json_schema", value=_json_text(schema, field, dict | bool), field=field)


def structural_tag(tag: Any, field: str) -> Grammar:
    """A structural tag, likewise."""
    return Grammar(kind="structural_tag", value=_json_text(tag, field, dict), field=field)


def _choice(choices: list[str], field: str) -> Grammar:
    return Grammar(kind="choice", value=_json_text(choices, field, list), field=field)


def _json_text(value: Any, field: str, kind: Any) -> str:
    """A value as JSON text, within the bounds and of this kind. A client may have sent the text itself."""
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise RequestError(f"{field} is not JSON: {error}", param=field) from error
    if _nesting_is_over(value, MAX_SCHEMA_NESTING):
        raise RequestError(f"{field} is nested more than {MAX_SCHEMA_NESTING} levels deep", param=field)
    if not isinstance(value, kind):
        raise RequestError(f"{field} must be JSON of an object, not {shown(value)}", param=field)
    text = msgspec.json.encode(value)
    if len(text) > MAX_GRAMMAR_BYTES:
        raise RequestError(f"{field} has {len(text)} bytes; the limit is {MAX_GRAMMAR_BYTES}", param=field)
    return text.decode()


def _nesting_is_over(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True
