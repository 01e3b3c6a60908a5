"""OpenAI's answers, as the processor makes them: encoded once, by the front door, straight to the client.

UNSET fields are left out, None becomes null. The tag of each is OpenAI's own `object` field, so that an
answer read back from MessagePack is known by it. What is made once per token is kept from the garbage
collector (`gc=False`): it lives for microseconds and holds no cycle.
"""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

Finish = Literal["stop", "length", "tool_calls"]


class CachedDetails(msgspec.Struct, frozen=True):
    """`usage.prompt_tokens_details`."""

    cached_tokens: int


class OutputDetails(msgspec.Struct, frozen=True):
    """`usage.completion_tokens_details`."""

    reasoning_tokens: int


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a request cost, in tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedDetails | None = None
    completion_tokens_details: OutputDetails | UnsetType = UNSET


class TopLogprob(msgspec.Struct, frozen=True):
    """An alternative at a position."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(msgspec.Struct, frozen=True):
    """A generated token and its alternatives."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprob]


class ChatLogprobs(msgspec.Struct, frozen=True):
    """`choices[].logprobs` of a chat."""

    content: list[TokenLogprob]
    refusal: None = None


class CompletionLogprobs(msgspec.Struct, frozen=True):
    """`choices[].logprobs` of a plain completion: four lists of one length."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class PromptLogprob(msgspec.Struct, frozen=True):
    """What vLLM says of a token at a place of the prompt."""

    logprob: float
    rank: int
    """1 is the most likely token."""
    decoded_token: str


PromptLogprobs = list[dict[int, PromptLogprob] | None]
"""Per token of the prompt, by token: the token that is there and the likeliest ones. Nothing for the first."""


class CalledFunction(msgspec.Struct, frozen=True):
    """The call itself."""

    name: str
    arguments: str
    """JSON text."""


class MadeToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that the model made."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class FunctionDelta(msgspec.Struct, frozen=True, gc=False):
    """What is new of a call."""

    arguments: str
    """JSON text; all deltas of a call together are the arguments."""
    name: str | UnsetType = UNSET


class ToolCallDelta(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A call in a stream: who is called comes first and once, arguments follow as they are made."""

    index: int
    """Which call of the answer."""
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET
    function: FunctionDelta


class Delta(msgspec.Struct, kw_only=True, gc=False):
    """What is new in a chat's stream."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    """The same text again, by its newer name."""
    tool_calls: list[ToolCallDelta] | UnsetType = UNSET


class ChunkChoice(msgspec.Struct, kw_only=True, gc=False):
    """One sequence's part of a chunk."""

    index: int
    delta: Delta
    logprobs: ChatLogprobs | None = None
    finish_reason: Finish | None = None
    stop_reason: int | str | UnsetType = UNSET
    """What stopped it, when that was not the end-of-sequence token (vLLM's field)."""
    token_ids: list[int] | UnsetType = UNSET
    """With `return_token_ids`: the chunk's tokens."""


class ChatChunk(msgspec.Struct, kw_only=True, tag_field="object", tag="chat.completion.chunk", gc=False):
    """One event of a chat's stream."""

    id: str
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | UnsetType | None = UNSET
    prompt_token_ids: list[int] | UnsetType = UNSET
    """With `return_token_ids`, on the first chunk."""


class AnswerMessage(msgspec.Struct, kw_only=True):
    """The whole answer of one sequence."""

    role: Literal["assistant"] = "assistant"
    content: str | None = None
    refusal: None = None
    reasoning_content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    tool_calls: list[MadeToolCall] | None = None
    function_call: None = None
    audio: None = None


class AnswerChoice(msgspec.Struct, kw_only=True):
    """One sequence of a chat's answer."""

    index: int
    message: AnswerMessage
    logprobs: ChatLogprobs | None = None
    finish_reason: Finish
    stop_reason: int | str | UnsetType = UNSET
    token_ids: list[int] | UnsetType = UNSET
    """With `return_token_ids`."""


class ChatCompletion(msgspec.Struct, kw_only=True, tag_field="object", tag="chat.completion"):
    """A chat's answer in one piece."""

    id: str
    created: int
    model: str
    choices: list[AnswerChoice]
    usage: Usage | None
    service_tier: None = None
    system_fingerprint: None = None
    prompt_logprobs: PromptLogprobs | UnsetType = UNSET
    """Where they were asked for."""
    prompt_token_ids: list[int] | UnsetType = UNSET
    """With `return_token_ids`."""


class TextChoice(msgspec.Struct, kw_only=True, gc=False):
    """One sequence of a plain completion; in a stream, what is new of it."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: Finish | None = None
    stop_reason: int | str | UnsetType = UNSET
    prompt_logprobs: PromptLogprobs | UnsetType = UNSET
    """Where they were asked for."""
    token_ids: list[int] | UnsetType = UNSET
    """With `return_token_ids`: the answer's tokens, in a stream those that are new."""
    prompt_token_ids: list[int] | UnsetType = UNSET
    """With `return_token_ids`; in a stream on the choice's first event."""


class Completion(msgspec.Struct, kw_only=True, tag_field="object", tag="text_completion", gc=False):
    """A plain completion: the answer, or with `stream` one event of it."""

    id: str
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage | UnsetType | None = UNSET
    system_fingerprint: None = None


class Spent(msgspec.Struct, kw_only=True, tag_field="object", tag="tandem.spent"):
    """What a metered request has cost so far, between processor and front door. Clients never see it."""

    prompt_tokens: int
    output_tokens: int


ChatReply = ChatChunk | ChatCompletion


class Model(msgspec.Struct, frozen=True, kw_only=True, tag_field="object", tag="model"):
    """A served model, in `GET /v1/models`."""

    id: str
    created: int
    owned_by: str = "tandem"
    root: str = ""
    parent: str | None = None
    """For a LoRA adapter: the model below it."""
    max_model_len: int = 0


class ModelList(msgspec.Struct, frozen=True, kw_only=True, tag_field="object", tag="list"):
    """`GET /v1/models`."""

    data: list[Model]
