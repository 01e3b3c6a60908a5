"""Which formats a model speaks, by what its card shows. The excerpts are ours, in the manner of the families'."""

import pytest

from tandem.errors import ConfigError
from tandem.processor.parsers.choosing import formats_for
from tandem.processor.parsers.hermes import HERMES
from tandem.processor.parsers.registry import reasoning_format, tool_format

THINKING = "{%- if '</think>' in content %}{{ content.split('</think>')[-1] }}{% endif %}"


@pytest.mark.parametrize(
    ("family", "template", "architecture", "tools", "reasoning"),
    [
        (
            "Qwen3",
            THINKING + r"""{{- "<tool_call>\n{\"name\": <name>, \"arguments\": <json>}\n</tool_call>" }}""",
            "Qwen3ForCausalLM",
            "hermes",
            "qwen3",
        ),
        (
            "Qwen2.5",
            r"""{{- '<tool_call>\n{"name": "' }}{{ call.arguments | tojson }}""",
            "Qwen2ForCausalLM",
            "hermes",
            "",
        ),
        (
            "Qwen3-Coder",
            r"""{{- '<tool_call>\n<function=' + call.name + '>\n' }}{{ '<parameter=' }}{{ call.arguments }}""",
            "Qwen3MoeForCausalLM",
            "qwen3_coder",
            "",
        ),
        ("GLM", THINKING + "<tool_call>{{ call.name }}<arg_key>{{ k }}</arg_key> arguments", "Glm4", "", "qwen3"),
        (
            "DeepSeek R1",
            THINKING + "{{ '<｜tool▁calls▁begin｜>' + call.type + '<｜tool▁sep｜>' + call.name + '```json' }}",
            "DeepseekV3ForCausalLM",
            "deepseek_v3",
            "qwen3",
        ),
        (
            "DeepSeek V3.1",
            "{{ '<｜tool▁calls▁begin｜>' + call.name + '<｜tool▁sep｜>' }}",
            "Deepseek",
            "deepseek_v31",
            "",
        ),
        ("Mistral", """{{- "[TOOL_CALLS] [" }}{{ call.function | tojson }}""", "MistralForCausalLM", "mistral", ""),
        ("Magistral", """{{- "[THINK]" }}{{- "[TOOL_CALLS]" + name + "[ARGS]" }}""", "Mistral3", "mistral", "mistral"),
        ("Llama 3.1", """{{- "<|start_header_id|>" }}{{- "<|python_tag|>" }}""", "LlamaForCausalLM", "llama3_json", ""),
        ("Llama 3.2", """{{- "<|start_header_id|>" }}{{- '"parameters": ' }}""", "LlamaForCausalLM", "llama3_json", ""),
        ("Llama 4", "{{ '<|header_start|>' }}", "Llama4ForConditionalGeneration", "pythonic", ""),
        (
            "Llama 4, as it is published",  # it asks for JSON, and shows its older marks around an empty text
            """{{- "<|header_start|>" }}{{- '<|python_start|>' }}{{- '"parameters": ' }}""",
            "Llama4ForConditionalGeneration",
            "llama3_json",
            "",
        ),
        (
            "Llama 4, asked for Python",
            """{{- "<|header_start|>" }}{{- "Use exact format: [func_name1(param1=value1)]" }}""",
            "Llama4ForConditionalGeneration",
            "pythonic",
            "",
        ),
        ("ToolACE", "put it in the format of [func_name1(a=1), func_name2(b=2)]", "LlamaForCausalLM", "pythonic", ""),
        (
            "gpt-oss",
            """{{- "<|start|>assistant<|channel|>final<|message|>" }}""",
            "GptOssForCausalLM",
            "harmony",
            "harmony",
        ),
        ("gpt-oss without a template that says so", "{{ messages }}", "GptOssForCausalLM", "harmony", "harmony"),
        ("Llama 2", "{{ '[INST] ' + messages[0].content + ' [/INST]' }}", "LlamaForCausalLM", "", ""),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "",
)
def test_formats_are_chosen_by_the_models_card(
    family: str, template: str, architecture: str, tools: str, reasoning: str
) -> None:
    chosen = formats_for(template, (architecture,))
    assert (chosen.tools.name if chosen.tools else "") == tools, family
    assert (chosen.reasoning.name if chosen.reasoning else "") == reasoning, family


def test_a_setting_overrides_the_card() -> None:
    chosen = formats_for("<tool_call> arguments </think>", tools="llama3_json", reasoning="none")
    assert (chosen.tools, chosen.reasoning) == (tool_format("llama3_json"), None)
    assert formats_for("", tools="hermes").tools is HERMES


@pytest.mark.parametrize(
    ("name", "format_name"),
    [
        ("hermes", "hermes"),
        ("qwen3-coder", "qwen3_coder"),
        ("qwen3_xml", "qwen3_coder"),
        ("llama3_json", "llama3_json"),
        ("llama4_pythonic", "pythonic"),
        ("deepseek_v31", "deepseek_v31"),
        ("openai", "harmony"),
    ],
)
def test_names_of_vllm_are_understood(name: str, format_name: str) -> None:
    form = tool_format(name)
    assert form is not None
    assert form.name == format_name


def test_a_name_that_is_not_there_is_a_config_error_that_lists_those_that_are() -> None:
    with pytest.raises(
        ConfigError, match=r"tool_call_parser 'hermse' is not there; choose from auto, .*hermes, .*none"
    ):
        tool_format("hermse")
    with pytest.raises(ConfigError, match=r"reasoning_parser 'r1' .* deepseek_r1, "):
        reasoning_format("r1")
