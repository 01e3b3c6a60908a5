"""What is checked after decoding and JSON Schema can say too: shapes that depend on another field.

Added to the schema of a type, property by property. What depends on the model (its context, vocabulary, template), on
a setting, or compares two numbers cannot be said there; errors name those fields.
"""

from collections.abc import Mapping
from typing import Any, Final

from tandem.core.embeddings import EmbeddingsRequest
from tandem.core.openai_in import (
    ChatRequest,
    CompletionRequest,
    ContentPart,
    Function,
    Message,
    ResponseFormat,
    Tool,
)
from tandem.core.tokens import TokenizeRequest
from tandem.frontend.anthropic import requests as anthropic
from tandem.frontend.openai_responses import requests as responses

Schema = dict[str, Any]

_NULL: Final[Schema] = {"type": "null"}
_TOKENS: Final[Schema] = {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/TokenId"}}
_TEXT: Final[Schema] = {"type": "string", "minLength": 1}
_NAME: Final[Schema] = {"type": "string", "pattern": "^[a-zA-Z0-9_.:/-]{1,128}$"}


def _has(*needed: str, **fields: Schema) -> Schema:
    """These fields are like this; all of them are there, or only those `needed`."""
    return {"required": list(needed or fields), "properties": fields}


def _null(field: str) -> Schema:
    """This field asks for nothing."""
    return {"properties": {field: _NULL}}


def _blocks(role: str, *kinds: str) -> Schema:
    """A turn of this role: a text, or blocks of these kinds."""
    refs = [{"$ref": f"#/components/schemas/{kind}"} for kind in kinds]
    content: Schema = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"anyOf": refs}}]}
    return _has(role={"const": role}, content=content)


_SOME: Final[Schema] = {"type": "array", "minItems": 1}
_STREAMS: Final[Schema] = {
    "stream_options": {"anyOf": [_null("stream_options"), _has(stream={"const": True})]},
    "prompt_logprobs": {"anyOf": [_null("prompt_logprobs"), {"properties": {"stream": {"enum": [None, False]}}}]},
}
"""What each of these fields, if it is there, asks of others."""
_MAY_GO_ON: Final[Schema] = {
    "if": _has(continue_final_message={"const": True}),
    "then": _has(add_generation_prompt={"const": False}),
}
_PARAMETERS: Final[Schema] = {"type": "object", "properties": {"type": {"const": "object"}}}
"""A schema of the arguments of a call, which are an object."""
_NAMED: Final[Schema] = {"type": "object", **_has(name=_NAME)}
_ALLOWED: Final[Schema] = {
    "type": "array",
    "items": {
        "type": "object",
        "anyOf": [_has(type={"const": "function"}, name=_NAME), _has(type={"const": "function"}, function=_NAMED)],
    },
}
_CHAT_CHOICE: Final[Schema] = {
    "anyOf": [
        {"enum": ["none", "auto", "required", None]},
        {"type": "object", **_has(type={"const": "function"}, function=_NAMED)},
        {
            "type": "object",
            **_has(
                type={"const": "allowed_tools"},
                allowed_tools={"type": "object", **_has(mode={"enum": ["auto", "required"]}, tools=_ALLOWED)},
            ),
        },
    ]
}
_CHOICE_OF_TOOLS: Final[Schema] = {
    "anyOf": [{"properties": {"tool_choice": {"enum": ["none", "auto", None]}}}, _has(tools=_SOME)]
}
_INPUTS: Final[Schema] = {
    "anyOf": [_TEXT, _TOKENS, {"type": "array", "minItems": 1, "maxItems": 1024, "items": {"anyOf": [_TEXT, _TOKENS]}}]
}
_TEXTS: Final[Schema] = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#/components/schemas/Text"}}, _NULL]
}
_CONVERSATION: Final[Schema] = {
    "properties": {"system": _TEXTS},
    "dependentSchemas": {
        "tool_choice": {
            "anyOf": [
                _null("tool_choice"),
                {"properties": {"tool_choice": {"type": "object", **_has(type={"const": "none"})}}},
                _has(tools=_SOME),
            ]
        }
    },
}

RULES: Final[Mapping[type, Schema]] = {
    ContentPart: {
        "properties": {"type": {"enum": ["text", "input_text", "output_text", "refusal"]}, "text": {"type": "string"}},
        "required": ["type", "text"],
    },
    Message: {
        "if": {"properties": {"role": {"const": "assistant"}}},
        "else": {"required": ["content"], "properties": {"content": {"not": _NULL}}},
    },
    Function: {"properties": {"parameters": {"anyOf": [_PARAMETERS, _NULL]}}},
    ResponseFormat: {
        "if": {"properties": {"type": {"const": "json_schema"}}},
        "then": _has(json_schema={"type": "object", **_has(schema={"type": ["object", "boolean"]})}),
        "else": {
            "anyOf": [
                {"properties": {"type": {"enum": ["text", "json_object"]}}},
                _has("format", format={"type": "object"}, structures=_NULL),
                _has("structures", structures={"type": "array"}, format=_NULL),
            ]
        },
    },
    ChatRequest: {
        **_MAY_GO_ON,
        "dependentSchemas": {
            **_STREAMS,
            "top_logprobs": {"anyOf": [_null("top_logprobs"), _has(logprobs={"const": True})]},
        },
        "properties": {"tool_choice": _CHAT_CHOICE},
    },
    CompletionRequest: {
        "if": _has(max_tokens={"const": 0}),
        "then": _has(echo={"const": True}),
        "dependentSchemas": _STREAMS,
        "properties": {"prompt": _INPUTS},
    },
    EmbeddingsRequest: {"properties": {"input": _INPUTS}},
    TokenizeRequest: {
        **_MAY_GO_ON,
        "anyOf": [
            _has("prompt", prompt={"type": "string"}, messages=_NULL),
            _has("messages", messages={"type": "array"}, prompt=_NULL, add_special_tokens={"enum": [None, False]}),
        ],
    },
    responses.InputPart: {
        "anyOf": [
            _has(type={"const": "refusal"}),
            _has(
                type={"enum": ["input_text", "output_text", "text", "reasoning_text", "summary_text"]},
                text={"type": "string"},
            ),
        ]
    },
    responses.InputItem: {
        "anyOf": [
            {
                "required": ["role", "content"],
                "properties": {
                    "type": {"const": "message"},
                    "role": {"type": "string"},
                    "content": {"type": ["string", "array"]},
                },
            },
            _has(type={"const": "reasoning"}),
            _has(type={"const": "function_call"}, name={"type": "string"}, call_id={"type": "string"}),
            _has(
                type={"const": "function_call_output"},
                call_id={"type": "string"},
                output={"type": ["string", "array"]},
            ),
        ]
    },
    responses.ResponsesTool: {
        "properties": {"type": {"const": "function"}, "name": _NAME, "parameters": {"anyOf": [_PARAMETERS, _NULL]}},
        "required": ["type", "name"],
    },
    responses.ToolChoice: {"properties": {"type": {"const": "function"}, "name": _NAME}, "required": ["type", "name"]},
    responses.TextFormat: {
        "anyOf": [
            {"properties": {"type": {"enum": ["text", "json_object"]}}},
            _has(type={"const": "json_schema"}, schema={"type": ["object", "boolean"]}),
        ]
    },
    responses.ResponsesRequest: {"dependentSchemas": {"tool_choice": _CHOICE_OF_TOOLS}},
    anthropic.Tool: {
        "properties": {"type": {"enum": ["custom", None]}, "input_schema": _PARAMETERS},
        "required": ["name", "input_schema"],
    },
    anthropic.ToolResult: {"properties": {"content": _TEXTS}},
    anthropic.Turn: {
        "anyOf": [
            _blocks("system", "Text"),
            _blocks("assistant", "Text", "Thinking", "ToolUse"),
            _blocks("user", "Text", "ToolResult"),
        ]
    },
    anthropic.MessagesRequest: _CONVERSATION,
    anthropic.CountTokensRequest: _CONVERSATION,
}
"""By type. Written as branches and dependencies: what generates requests from the schema understands them."""

_TOOLS: Final = {"tools": list[Tool] | None}
CHECKED_AS: Final[Mapping[type, Mapping[str, Any]]] = {ChatRequest: _TOOLS, TokenizeRequest: _TOOLS}
"""Fields that are decoded as they come, and checked as another type."""
