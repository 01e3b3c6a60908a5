"""Text to tokens and back, as vLLM's `/tokenize` and `/detokenize` have it."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tandem.core.bounds import TemplateOptions, TokenId
from tandem.core.openai_in import ChatRequest, Message


class TokenizeRequest(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Body of POST /tokenize: a text (`prompt`) or a conversation (`messages`)."""

    model: str | None = None
    prompt: str | None = None
    messages: Annotated[list[Message], Meta(min_length=1)] | None = None
    tools: list[dict[str, Any]] | None = None
    chat_template_kwargs: TemplateOptions | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    add_special_tokens: bool | None = None
    """Whether the tokenizer puts its own special tokens around a text. A chat template writes them itself."""
    return_token_strs: bool | None = False


class TokenizeCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the front door asks of a processor: the tokens of a text, or of a chat's prompt."""

    model: str | None = None
    text: str | None = None
    add_special_tokens: bool = True
    chat: ChatRequest | None = None
    token_strs: bool = False


class Tokenized(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of /tokenize."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | UnsetType = UNSET
    """What each token stands for; U+FFFD where it is part of a character."""


class DetokenizeRequest(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Body of POST /detokenize."""

    tokens: list[TokenId]
    model: str | None = None


class Detokenized(msgspec.Struct, frozen=True):
    """Answer of /detokenize."""

    prompt: str
