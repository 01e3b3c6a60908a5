"""What is checked after decoding and JSON Schema can say too: shapes that depend on another field.

Added to the schema of a type, property by property. What depends on the model (its context, vocabulary, template) or
compares two numbers cannot be said there; errors name those fields.
"""

from collections.abc import Mapping
from typing import Any, Final

from tandem.core.openai_in import ChatRequest, CompletionRequest, ContentPart, Message, ResponseFormat, Tool

Schema = dict[str, Any]

RULES: Final[Mapping[type, Schema]] = {
    ContentPart: {
        "properties": {
            "type": {"enum": ["text", "input_text", "output_text", "refusal"]},
            "text": {"type": "string"},
        },
        "required": ["type", "text"],
    },
    Message: {
        "if": {"properties": {"role": {"const": "assistant"}}},
        "else": {"required": ["content"], "properties": {"content": {"not": {"type": "null"}}}},
    },
    ResponseFormat: {
        "if": {"properties": {"type": {"const": "json_schema"}}},
        "then": {
            "required": ["json_schema"],
            "properties": {
                "json_schema": {
                    "type": "object",
                    "required": ["schema"],
                    "properties": {"schema": {"type": ["object", "boolean"]}},
                }
            },
        },
    },
    ChatRequest: {
        "if": {"required": ["continue_final_message"], "properties": {"continue_final_message": {"const": True}}},
        "then": {"required": ["add_generation_prompt"], "properties": {"add_generation_prompt": {"const": False}}},
    },
    CompletionRequest: {
        "if": {"required": ["max_tokens"], "properties": {"max_tokens": {"const": 0}}},
        "then": {"required": ["echo"], "properties": {"echo": {"const": True}}},
        "properties": {
            "prompt": {
                "anyOf": [
                    {"type": "string", "minLength": 1},
                    {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/TokenId"}},
                    {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": 1024,
                        "items": {
                            "anyOf": [
                                {"type": "string", "minLength": 1},
                                {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/TokenId"}},
                            ]
                        },
                    },
                ],
            }
        },
    },
}

CHECKED_AS: Final[Mapping[type, Mapping[str, Any]]] = {ChatRequest: {"tools": list[Tool] | None}}
"""Fields that are decoded as they come, and checked as another type."""
