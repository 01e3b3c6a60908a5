"""Answers of models, written by hand, format by format: what each says, and where vLLM reads it differently."""

from typing import Any, NamedTuple

from tests.processor.parsers.folding import Found

from tandem.processor.parsers.ports import Tools

TOOLS: Tools = {
    "weather": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "hourly": {"type": "boolean"},
            "where": {"type": "object"},
            "names": {"type": "array"},
            "limit": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        },
    },
    "now": {},
    "write": {"type": "object", "properties": {"text": {"type": "string"}}},
}


class Case(NamedTuple):
    """One answer."""

    name: str
    text: str
    found: Found
    differs: str = ""
    """Why vLLM finds something else; empty: it finds the same."""


def call(name: str, arguments: str) -> tuple[str, str]:
    return name, arguments


OSLO = call("weather", '{"city": "Oslo"}')
ROME = call("weather", '{"city": "Rome"}')
NOW = call("now", "{}")
NESTED = call("weather", '{"where": {"at": [59.9, {"deep": [[]]}]}, "names": ["a", "b"]}')
QUOTED = call("write", r'{"text": "She said \"hi\" \\ {}[]"}')
UNICODE = call("weather", '{"city": "Ålesund 🌧 北京"}')
ESCAPED = call("weather", r'{"city": "\u00c5lesund \ud83c\udf27"}')
LINES = call("write", r'{"text": "a\n\tb"}')
"""As it should be: a line break in a JSON string is an escape."""


def cut(text: str, last: str = '{"city": "Os') -> str:
    """`text` up to the end of `last`: the model ran out of tokens there."""
    assert last in text
    return text[: text.index(last) + len(last)]


CUT = call("weather", '{"city": "Os')

LOST_AFTER = "vLLM drops text after calls"
STRICT = "vLLM gives up on the whole answer"
KEEPS = "vLLM passes the raw line break on, which is no JSON"
KNOWN = "without a mark, only a function that was offered is called"


def hermes(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


HERMES = [
    Case("one", hermes(*OSLO), [OSLO]),
    Case("text before", f"Let me look.\n{hermes(*OSLO)}", ["Let me look.", OSLO]),
    Case("text after", f"{hermes(*OSLO)}\nDone.", [OSLO, "Done."], LOST_AFTER),
    Case("several", f"{hermes(*OSLO)}\n{hermes(*ROME)}\n{hermes(*NOW)}", [OSLO, ROME, NOW]),
    Case("nested", hermes(*NESTED), [NESTED]),
    Case("quotes", hermes(*QUOTED), [QUOTED]),
    Case("unicode", hermes(*UNICODE), [UNICODE]),
    Case("escapes", hermes(*ESCAPED), [ESCAPED]),
    Case("line break in a string", hermes("write", '{"text": "a\n\tb"}'), [LINES], STRICT),
    Case("no white space", hermes(*OSLO).replace("\n", ""), [OSLO]),
    Case("arguments first", '<tool_call>{"arguments": {"city": "Oslo"}, "name": "weather"}</tool_call>', [OSLO]),
    Case("no closing tag", hermes(*OSLO)[: -len("</tool_call>")], [OSLO]),
    Case(
        "no brace before the closing tag",
        hermes(*OSLO).replace('"}}', '"}'),
        [OSLO],
        STRICT,
    ),
    Case("cut off in the arguments", cut(hermes(*OSLO)), [CUT], "vLLM makes it text"),
    Case("cut off in the name", '<tool_call>{"name": "wea', ['<tool_call>{"name": "wea']),
    Case("no JSON", "<tool_call>nothing</tool_call>", ["<tool_call>nothing</tool_call>"]),
    Case("no name", '<tool_call>{"arguments": {}}</tool_call>', ['<tool_call>{"arguments": {}}</tool_call>']),
    Case("no arguments", '<tool_call>{"name": "now"}</tool_call>', [NOW], STRICT),
    Case("null arguments", hermes("now", "null"), [NOW], "vLLM says null, which no client takes"),
    Case(
        "one good and one bad",
        f"{hermes(*OSLO)}<tool_call>bad</tool_call>",
        [OSLO, "<tool_call>bad</tool_call>"],
        STRICT,
    ),
    Case(
        "closing tag in a string",
        hermes("write", '{"text": "</tool_call>"}'),
        [call("write", '{"text": "</tool_call>"}')],
        STRICT,
    ),
    Case(
        "no JSON after a border between portions",
        '<tool_call>{"name": "f", "arguments": {<x></tool_call>',
        [call("f", "{<x>")],
        STRICT,
    ),
    Case("plain text", "2 < 3, and that is all.", ["2 < 3, and that is all."]),
    Case("half a tag", "See <tool", ["See <tool"]),
]


def coder(name: str, **parameters: str) -> str:
    lines = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in parameters.items())
    return f"<tool_call>\n<function={name}>\n{lines}</function>\n</tool_call>"


QWEN3_CODER = [
    Case("one", coder("weather", city="Oslo"), [OSLO]),
    Case("text before", f"Let me look.\n{coder('weather', city='Oslo')}", ["Let me look.", OSLO]),
    Case("text after", f"{coder('now')}\nDone.", [NOW, "Done."], LOST_AFTER),
    Case("several", f"{coder('weather', city='Oslo')}\n{coder('weather', city='Rome')}", [OSLO, ROME]),
    Case(
        "types",
        coder("weather", days="3", hourly="True", limit="2.5", names='["a", 1]', where='{"a": null}', city="7"),
        [
            call(
                "weather",
                '{"days": 3, "hourly": true, "limit": 2.5, "names": ["a", 1], "where": {"a": null}, "city": "7"}',
            )
        ],
    ),
    Case("a number that may be null", coder("weather", limit="null"), [call("weather", '{"limit": null}')]),
    Case("no number after all", coder("weather", days="a few"), [call("weather", '{"days": "a few"}')]),
    Case(
        "a list as Python writes it",
        coder("weather", names="['a', None]"),
        [call("weather", '{"names": ["a", null]}')],
        "vLLM makes it a string",
    ),
    Case("unicode and quotes", coder("write", text='"Å" 🌧\\'), [call("write", '{"text": "\\"Å\\" 🌧\\\\"}')]),
    Case("lines", coder("write", text="a\n\n  b < c\n"), [call("write", '{"text": "a\\n\\n  b < c\\n"}')]),
    Case("tags inside", coder("write", text="<b>x</b> </para"), [call("write", '{"text": "<b>x</b> </para"}')]),
    Case("unknown parameter", coder("weather", more="1"), [call("weather", '{"more": "1"}')]),
    Case("no parameters", coder("now"), [NOW]),
    Case("not wrapped", "<function=now>\n</function>", [NOW]),
    Case(
        "not wrapped, and not offered",
        "<function=later>\n</function>",
        ["<function=later>\n</function>"],
        KNOWN,
    ),
    Case("no closing tags", "<tool_call>\n<function=weather>\n<parameter=city>\nOslo\n</parameter>\n", [OSLO]),
    Case(
        "cut off in a value",
        "<tool_call>\n<function=weather>\n<parameter=city>\nOs",
        [call("weather", '{"city": "Os')],
        "vLLM closes what was cut off",
    ),
    Case("no function", "<tool_call>\nnothing\n</tool_call>", ["<tool_call>\nnothing\n</tool_call>"], "vLLM drops it"),
    Case("plain text", "2 < 3, and that is all.", ["2 < 3, and that is all."]),
]


def llama(name: str, arguments: str) -> str:
    return f'{{"name": "{name}", "parameters": {arguments}}}'


LLAMA3_JSON = [
    Case("one", llama(*OSLO), [OSLO]),
    Case("after the tag", f"<|python_tag|>{llama(*OSLO)}", [OSLO]),
    Case("several", f"{llama(*OSLO)}; {llama(*ROME)}", [OSLO, ROME]),
    Case("several in lines", f"{llama(*OSLO)}\n{llama(*ROME)}", [OSLO, ROME]),
    Case("arguments", llama(*OSLO).replace("parameters", "arguments"), [OSLO]),
    Case("with a type", '{"type": "function", "name": "weather", "parameters": {"city": "Oslo"}}', [OSLO]),
    Case("nested", llama(*NESTED), [NESTED]),
    Case("quotes", llama(*QUOTED), [QUOTED]),
    Case("unicode", llama(*UNICODE), [UNICODE]),
    Case("escapes", llama(*ESCAPED), [ESCAPED]),
    Case("line break in a string", llama("write", '{"text": "a\n\tb"}'), [LINES], STRICT),
    Case("text after", f"{llama(*OSLO)} Done.", [OSLO, "Done."], LOST_AFTER),
    Case("text before the tag", f"Look: <|python_tag|>{llama(*OSLO)}", ["Look:", OSLO], "vLLM drops text before calls"),
    Case(
        "text before, and no tag",
        f"Look: {llama(*OSLO)}",
        [f"Look: {llama(*OSLO)}"],
        "in the middle of a text only the tag makes it a call, as vLLM has it in streams",
    ),
    Case("not offered", llama("later", "{}"), [llama("later", "{}")], KNOWN),
    Case("other JSON", '{"answer": 42, "name": "weather"}', ['{"answer": 42, "name": "weather"}']),
    Case("code", "<|python_tag|>print(1)", ["<|python_tag|>print(1)"]),
    Case("cut off", cut(llama(*OSLO)), [CUT], "vLLM makes it text"),
    Case("plain text", "2 < 3, and that is all.", ["2 < 3, and that is all."]),
]

PYTHONIC = [
    Case("one", '[weather(city="Oslo")]', [OSLO]),
    Case("several", "[weather(city='Oslo'), weather(city='Rome'), now()]", [OSLO, ROME, NOW]),
    Case(
        "values",
        "[weather(days=3, limit=-2.5e3, hourly=True, city=None, names=['a', (1, 2)], where={'a': {'b': []}})]",
        [
            call(
                "weather",
                '{"days": 3, "limit": -2.5e3, "hourly": true, "city": null, "names": ["a", [1, 2]], '
                '"where": {"a": {"b": []}}}',
            )
        ],
    ),
    Case("JSON's words", "[weather(hourly=false, city=null)]", [call("weather", '{"hourly": false, "city": null}')]),
    Case("quotes", r"""[write(text='She said "hi" \\ {}[]')]""", [QUOTED]),
    Case("escaped quote", r"[write(text='it\'s')]", [call("write", '{"text": "it\'s"}')]),
    Case("brackets in strings", "[write(text=')]}')]", [call("write", '{"text": ")]}"}')]),
    Case("unicode", "[weather(city='Ålesund 🌧 北京')]", [UNICODE]),
    Case("escapes", r"[weather(city='\u00c5lesund \U0001F327 \x41')]", [call("weather", '{"city": "Ålesund 🌧 A"}')]),
    Case("escaped line", r"[write(text='a\n\tb')]", [LINES]),
    Case("three quotes", "[write(text='''a\n\tb''')]", [LINES]),
    Case("line break in a string", "[write(text='a\n\tb')]", [LINES], STRICT),
    Case(
        "white space",
        "[\n  weather( city = 'Oslo' ),\n  now( ),\n]",
        [OSLO, NOW],
        "vLLM's pattern knows no white space there",
    ),
    Case("python_start", "<|python_start|>[weather(city='Oslo')]<|python_end|>", [OSLO]),
    Case("text after", "[now()] Done.", [NOW, "Done."], STRICT),
    Case("text before", "Look: [now()]", ["Look: [now()]"]),
    Case("marks around no call", "<|python_start|>x<|python_end|>", ["<|python_start|>x<|python_end|>"], STRICT),
    Case("not offered", "[later()]", ["[later()]"], KNOWN),
    Case("no name of an argument", "[weather('Oslo')]", ["[weather('Oslo')]"]),
    Case("an expression", "[weather(city=open('x'))]", ["[weather(city=open('x'))]"]),
    Case("another list", "[1] and [2](weather)", ["[1] and [2](weather)"]),
    Case("cut off", "[now(), weather(city='Os", [NOW, ", weather(city='Os"], STRICT),
    Case("plain text", "2 < 3, and that is all.", ["2 < 3, and that is all."]),
]


def mistral(name: str, arguments: str) -> str:
    return f"[TOOL_CALLS]{name}[ARGS]{arguments}"


def mistral_list(*calls: tuple[str, str]) -> str:
    items = ", ".join(f'{{"name": "{name}", "arguments": {arguments}}}' for name, arguments in calls)
    return f"[TOOL_CALLS][{items}]"


MISTRAL = [
    Case("one", mistral(*OSLO), [OSLO]),
    Case("several", mistral(*OSLO) + mistral(*ROME) + mistral(*NOW), [OSLO, ROME, NOW]),
    Case("without the second mark", mistral(*OSLO).replace("[ARGS]", ""), [OSLO]),
    Case(
        "with an id",
        mistral(*OSLO).replace("[ARGS]", "[CALL_ID]abc123def[ARGS]"),
        [OSLO],
        "vLLM takes the id for a part of the name",
    ),
    Case(
        "mark said twice",
        f"[TOOL_CALLS]{mistral(*OSLO)}",
        [OSLO],
        "vLLM takes the second mark for a part of the name",
    ),
    Case("text before", f"Look: {mistral(*OSLO)}", ["Look:", OSLO]),
    Case("text after", f"{mistral(*OSLO)} Done.", [OSLO, "Done."], LOST_AFTER),
    Case("nested", mistral(*NESTED), [NESTED]),
    Case("quotes", mistral(*QUOTED), [QUOTED]),
    Case("line break in a string", mistral("write", '{"text": "a\n\tb"}'), [LINES], STRICT),
    Case("cut off", cut(mistral(*OSLO)), [CUT]),
    Case("plain text", "See [1] and [TOOL", ["See [1] and [TOOL"]),
]
MISTRAL_LISTS = [
    Case("list", mistral_list(OSLO, ROME), [OSLO, ROME]),
    Case("list after text", f"Look: {mistral_list(NESTED)}", ["Look:", NESTED]),
    Case("list with text after", f"{mistral_list(QUOTED)} Done.", [QUOTED, "Done."], LOST_AFTER),
    Case("object alone", mistral_list(OSLO).replace("[{", "{").replace("}]", "}"), [OSLO]),
    Case("empty list", "[TOOL_CALLS][]", ["[TOOL_CALLS][]"], "vLLM drops the mark"),
    Case("no call", "[TOOL_CALLS] What?", ["[TOOL_CALLS] What?"], "vLLM drops the mark"),
    Case("list cut off", cut(mistral_list(NOW, OSLO)), [NOW, CUT], "vLLM gives the list as text"),
    Case("list cut off after a call", cut(mistral_list(NOW, OSLO), "}, "), [NOW], "vLLM gives the list as text"),
]
"""What models before Mistral's eleventh tokenizer write."""


def v3(name: str, arguments: str) -> str:
    return f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{arguments}\n```<｜tool▁call▁end｜>"


def v31(name: str, arguments: str) -> str:
    return f"<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{arguments}<｜tool▁call▁end｜>"


def section(*calls: str) -> str:
    lines = "\n".join(calls)
    return f"<｜tool▁calls▁begin｜>{lines}<｜tool▁calls▁end｜>"


DEEPSEEK_V3 = [
    Case("one", section(v3(*OSLO)), [OSLO]),
    Case("several", section(v3(*OSLO), v3(*ROME), v3(*NOW)), [OSLO, ROME, NOW]),
    Case("text before", f"Look: {section(v3(*OSLO))}", ["Look:", OSLO]),
    Case("text after", f"{section(v3(*OSLO))}Done.", [OSLO, "Done."], LOST_AFTER),
    Case("nested", section(v3(*NESTED)), [NESTED]),
    Case("quotes", section(v3(*QUOTED)), [QUOTED]),
    Case("unicode", section(v3(*UNICODE)), [UNICODE]),
    Case(
        "arguments in lines",
        section(v3("weather", '{\n  "city": "Oslo"\n}')),
        [call("weather", '{\n  "city": "Oslo"\n}')],
        "vLLM takes one line only, and drops the call",
    ),
    Case("no closing section", section(v3(*OSLO))[: -len("<｜tool▁calls▁end｜>")], [OSLO]),
    Case("cut off", cut(section(v3(*OSLO))), [CUT], "vLLM drops the call"),
    Case("no call", section("What?"), [section("What?")], "vLLM drops the text"),
    Case(
        "marks around no call",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>x<｜tool▁calls▁end｜>",
        ["<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>x<｜tool▁calls▁end｜>"],
        "vLLM drops the text",
    ),
    Case("plain text", "2 < 3, and that is all.", ["2 < 3, and that is all."]),
]
DEEPSEEK_V31 = [
    Case("one", section(v31(*OSLO)), [OSLO]),
    Case("several", section(v31(*OSLO), v31(*ROME), v31(*NOW)), [OSLO, ROME, NOW]),
    Case("text before", f"Look: {section(v31(*OSLO))}", ["Look:", OSLO]),
    Case("nested", section(v31(*NESTED)), [NESTED]),
    Case("quotes", section(v31(*QUOTED)), [QUOTED]),
    Case("unicode", section(v31(*UNICODE)), [UNICODE]),
    Case("escapes", section(v31(*ESCAPED)), [ESCAPED]),
    Case("a function called function", section(v31("function", "{}")), [call("function", "{}")]),
    Case("cut off", cut(section(v31(*OSLO))), [CUT], "vLLM drops the call"),
]


CORPUS: dict[str, list[Case]] = {
    "hermes": HERMES,
    "qwen3_coder": QWEN3_CODER,
    "llama3_json": LLAMA3_JSON,
    "pythonic": PYTHONIC,
    "mistral": [*MISTRAL, *MISTRAL_LISTS],
    "deepseek_v3": [*DEEPSEEK_V3, *DEEPSEEK_V31],
}
"""By the name of the format."""


def as_openai(tools: Tools = TOOLS) -> list[dict[str, Any]]:
    """The tools as a client sends them."""
    return [
        {"type": "function", "function": {"name": name, "parameters": dict(schema)}} for name, schema in tools.items()
    ]
