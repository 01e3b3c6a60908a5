"""Our rendering of chat templates against transformers' own, which is the oracle."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from tandem.errors import ConfigError, RequestError
from tandem.processor.model import TextModel
from tandem.processor.template import ChatTemplate

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city <now> & later",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Zürich"}}}
TALKS: list[list[dict[str, Any]]] = [
    [{"role": "user", "content": "Hello"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "测试一下 🙂"}],
    [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "<script>&amp;</script>"}],
    [
        {"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nthree"},
        {"role": "user", "content": "four"},
    ],
    [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "reasoning_content": "look it up", "tool_calls": [CALL]},
        {"role": "tool", "content": '{"degrees": 4}', "tool_call_id": "c1"},
        {"role": "tool", "content": "rain", "tool_call_id": "c2"},
    ],
]


@pytest.fixture(scope="module")
def oracle(model_path: Path) -> Any:
    return AutoTokenizer.from_pretrained(str(model_path))


@pytest.mark.parametrize("talk", TALKS)
@pytest.mark.parametrize("tools", [None, [WEATHER]])
@pytest.mark.parametrize("options", [{}, {"enable_thinking": False}, {"enable_thinking": True}])
@pytest.mark.parametrize("prompt", [True, False])
def test_the_demo_models_template_renders_as_transformers_does(
    oracle: Any, text_model: TextModel, talk: list[dict[str, Any]], tools: Any, options: dict[str, Any], prompt: bool
) -> None:
    theirs = oracle.apply_chat_template(talk, tools=tools, add_generation_prompt=prompt, tokenize=False, **options)
    assert text_model.template is not None
    ours = text_model.template.render(talk, tools=tools, add_generation_prompt=prompt, options=options)
    assert ours == theirs
    ids = oracle.apply_chat_template(talk, tools=tools, add_generation_prompt=prompt, return_dict=False, **options)
    assert text_model.encode(ours, add_special_tokens=False) == ids


EACH, END = "{% for m in messages %}", "{% endfor %}"
TEMPLATES = {
    "blocks are trimmed": EACH + "\n    {% if loop.first %}\nA\n{% endif %}\n {{ m.content }}\n" + END,
    "loop controls": EACH + "{% if loop.index > 1 %}{% break %}{% endif %}{{ m['content'] }}" + END,
    "tojson": "{{ tools | tojson(indent=2) }}{{ messages | tojson }}{{ {'b': 1, 'a': 'é'} | tojson(sort_keys=true) }}",
    "special tokens": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ unk_token }}",
    "generation tag": EACH + "{% generation %}{{ m.content }}{% endgeneration %}" + END,
    "the date": "{{ strftime_now('%d %b %Y') }}",
    "namespaces": "{% set n = namespace(x=0) %}" + EACH + "{% set n.x = n.x + 1 %}" + END + "{{ n.x }}",
    "undefined is empty": "{{ gone }}{{ 'yes' if tools is none else 'no' }}{{ documents }}{{ add_generation_prompt }}",
}


@pytest.mark.parametrize("source", TEMPLATES.values(), ids=TEMPLATES.keys())
@pytest.mark.parametrize("tools", [None, [WEATHER]])
def test_the_environment_is_transformers_own(source: str, tools: Any) -> None:
    special = {"bos_token": "<s>", "eos_token": "</s>"}
    talk = TALKS[0]
    rendered, _ = render_jinja_template(
        [talk], tools=tools, chat_template=source, add_generation_prompt=True, **special
    )
    assert ChatTemplate(source, special).render(talk, tools=tools) == rendered[0]


@pytest.mark.parametrize("content", ["So I will", "So I will  "])
@pytest.mark.parametrize(
    "source", ["{% for m in messages %}<{{ m.content }}>{% endfor %}", "<{{ messages[-1].content | trim }}>"]
)
def test_a_final_message_is_left_open_as_transformers_does(source: str, content: str) -> None:
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": content}]
    rendered, _ = render_jinja_template([talk], chat_template=source, continue_final_message=True)
    ours = ChatTemplate(source).render(talk, add_generation_prompt=False, continue_final_message=True)
    assert ours == rendered[0]
    assert talk[-1]["content"] == content


def test_what_a_template_refuses_is_the_callers_fault() -> None:
    template = ChatTemplate("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(RequestError, match="roles must alternate"):
        template.render(TALKS[0])
    with pytest.raises(RequestError, match="refuses these messages"):
        ChatTemplate("{{ messages[0].content.missing.more }}").render(TALKS[0])


def test_a_template_cannot_leave_its_sandbox() -> None:
    for source in (
        "{{ messages.__class__.__mro__ }}{{ messages.append(1) }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
    ):
        with pytest.raises(RequestError):
            ChatTemplate(source).render(TALKS[0])


def test_options_cannot_replace_our_arguments() -> None:
    with pytest.raises(RequestError, match="'messages'"):
        ChatTemplate("x").render(TALKS[0], options={"messages": []})


def test_a_broken_template_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="does not compile"):
        ChatTemplate("{% for %}")


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("{% for part in message.content %}", True),
        ("{%- for item in message['content'] -%}", True),
        ("{% for part in content if part.text %}", True),
        ("{{ message.content }}", False),
        ("{% for message in messages %}{{ message['content'] }}{% endfor %}", False),
    ],
)
def test_templates_that_walk_parts_are_known(source: str, parts: bool) -> None:
    ends = "{% endfor %}" if source.count("for") == 1 else ""
    assert ChatTemplate(source + ends).takes_parts is parts
