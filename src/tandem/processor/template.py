"""Messages to the prompt's text, by the model's own chat template, as transformers renders it.

Templates come with the model and run in Jinja's sandbox; what clients send is data to them, never code.
tests/processor/test_template.py compares with transformers itself.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import BuiltinMethodType
from typing import Any, Final, NoReturn

import jinja2
import jinja2.ext
from jinja2 import meta, nodes
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from tandem.errors import ConfigError, RequestError

_PARTS_LOOP: Final = re.compile(r"\bfor\s+\w+\s+in\s+[\w.\[\]'\"]*content\b")
"""A template that walks a message's parts by itself. Others want plain text."""
_ARGUMENTS_AS_TEXT: Final = re.compile(r"""\barguments['"]?\]?\s*[+~]""")
"""A template that joins a call's arguments to other text. Others print or walk a mapping."""
_CONTINUE_MARK: Final = "TANDEM_CONTINUES_HERE "
_DICT_ATTRIBUTES: Final = frozenset(dir(dict))
_TEXT_METHODS: Final = frozenset(n for n in dir(str) if not n.startswith("_")) - {"format", "format_map"}
"""Safe in a sandbox: a format string could reach for attributes."""
_RESERVED: Final = frozenset(
    {
        "add_generation_prompt",
        "chat_template",
        "continue_final_message",
        "conversation",
        "documents",
        "messages",
        "tokenize",
        "tools",
    }
)
"""Arguments of rendering itself, here or in transformers: a client never sets them through the options."""
_SWITCHES: Final = frozenset({"enable_thinking", "thinking"})
"""Options that clients send to any model; true or false."""


class ChatTemplate:
    """A compiled template with the model's special tokens."""

    def __init__(self, source: str, special_tokens: Mapping[str, str] | None = None) -> None:
        """Raises `ConfigError` when the template is no valid Jinja."""
        environment = _environment()
        try:
            self._template = environment.from_string(source)
            self._template.globals = dict(self._template.globals)  # a chain of mappings: copied for every prompt
            read = meta.find_undeclared_variables(environment.parse(source))
        except jinja2.TemplateError as error:
            raise ConfigError(f"the chat template does not compile: {error}") from error
        self.source = source
        self._special_tokens = dict(special_tokens or {})
        self.takes_parts = bool(_PARTS_LOOP.search(source))
        """Whether it reads `content` given as a list of parts."""
        self.options = _SWITCHES | (read - _RESERVED - environment.globals.keys() - self._special_tokens.keys())
        """What a client may set: the switches, and the names that this template reads beside its arguments."""
        self.takes_arguments_as_text = bool(_ARGUMENTS_AS_TEXT.search(source))
        """Whether it wants a call's `arguments` as JSON text."""

    def render(
        self,
        messages: Sequence[dict[str, Any]],
        *,
        tools: Sequence[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> str:
        """The prompt's text.

        Args:
            continue_final_message: leave the last message open, for the model to go on with.
            options: what the template may ask for beside messages (`enable_thinking`).
        Raises:
            RequestError: the template refuses these messages, or an option that it does not take.
        """
        given = dict(options or {})
        self._check(given)
        turns = list(messages)
        if continue_final_message:
            turns[-1] = _marked(turns[-1])
        try:
            text = self._template.render(
                **{
                    **self._special_tokens,
                    **given,
                    "messages": turns,
                    "tools": tools or None,
                    "documents": None,
                    "add_generation_prompt": add_generation_prompt,
                }
            )
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError, LookupError) as error:
            raise RequestError(
                f"the model's chat template refuses these messages: {error}", param="messages"
            ) from error
        return _cut(text) if continue_final_message else text

    def _check(self, given: Mapping[str, Any]) -> None:
        field = "chat_template_kwargs"
        for name, value in given.items():
            if name not in self.options:
                known = ", ".join(sorted(self.options))
                raise RequestError(f"{field} may not hold {name!r}; this model takes {known}", param=f"{field}.{name}")
            if name in _SWITCHES and not isinstance(value, bool):
                raise RequestError(f"{field}.{name} must be true or false", param=f"{field}.{name}")


def _marked(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": content + _CONTINUE_MARK}
    if isinstance(content, list) and content and isinstance(content[-1].get("text"), str):
        last = {**content[-1], "text": content[-1]["text"] + _CONTINUE_MARK}
        return {**message, "content": [*content[:-1], last]}
    raise RequestError("continue_final_message needs a last message with text", param="continue_final_message")


def _cut(text: str) -> str:
    """Everything up to the mark. A template that trims content has trimmed the mark's space: trim the same."""
    at = text.rfind(_CONTINUE_MARK.strip())
    if at < 0:
        raise RequestError(
            "continue_final_message: the chat template drops the last message's text", param="continue_final_message"
        )
    return text[:at] if text.startswith(_CONTINUE_MARK, at) else text[:at].rstrip()


class _GenerationTag(jinja2.ext.Extension):
    """`{% generation %}…{% endgeneration %}` marks the assistant's part for training; here it is only its body."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Any) -> str:
        return str(caller())


class _Sandbox(ImmutableSandboxedEnvironment):
    """The same rules, decided at once where templates spend their time: fields of messages, methods of texts."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Jinja's order: an attribute, else an item, else undefined."""
        if type(obj) is dict and attribute not in _DICT_ATTRIBUTES:
            try:
                return obj[attribute]
            except KeyError:
                return self.undefined(obj=obj, name=attribute)
        if type(obj) is str and attribute in _TEXT_METHODS:
            return getattr(obj, attribute)
        return super().getattr(obj, attribute)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """A method of a text needs no checks and takes no context; nor do the template's own macros and namespaces."""
        kind = type(__obj)
        if (kind is BuiltinMethodType and type(__obj.__self__) is str) or kind is Macro or __obj is Namespace:
            kwargs.pop("_block_vars", None)
            kwargs.pop("_loop_vars", None)
            return __obj(__context.eval_ctx, *args, **kwargs) if kind is Macro else __obj(*args, **kwargs)
        return super().call(__context, __obj, *args, **kwargs)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, jinja2.ext.loopcontrols])
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter would escape HTML.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)
