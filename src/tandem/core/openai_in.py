"""OpenAI's requests, as the front door reads them and the processor serves them.

Types and plain ranges are checked while decoding; what depends on the model is checked by the processor.
Fields that we do not know are ignored, as OpenAI does, and counted; those in `REFUSED` are not taken.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from tandem.core.bounds import (
    Bias,
    Choices,
    Count,
    CountOrNone,
    GrammarText,
    Label,
    Metadata,
    Pattern,
    StopText,
    TemplateOptions,
    TokenId,
)

Role = Literal["developer", "system", "user", "assistant", "tool"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]

REFUSED: Final = {
    "kv_transfer_params": "it speaks between engines and is never taken from a client",
    "functions": "it was replaced by tools",
    "function_call": "it was replaced by tool_choice",
    "suffix": "models here complete from the left only",
    "audio": "models here answer in text",
    "modalities": "models here answer in text",
    **dict.fromkeys(
        (
            "response_format",
            "structured_outputs",
            "guided_json",
            "guided_regex",
            "guided_choice",
            "guided_grammar",
        ),
        "this API says the form of an answer elsewhere",
    ),
    "guided_whitespace_pattern": "engines here choose the white space of an answer",
    "regex": "say it in structured_outputs",
    "ebnf": "say it in structured_outputs, as grammar",
    "json_schema": "say it in response_format",
    "bad_words": "logit_bias keeps single tokens away",
    "allowed_token_ids": "logit_bias and structured_outputs constrain an answer",
    "logits_processors": "nothing runs in an engine that came with a request",
    "repetition_detection": "see repetition_penalty",
    "logprob_token_ids": "top_logprobs reports the most likely tokens",
    "thinking_token_budget": "it limits the thoughts of a chat",
    "thinking_budget": "it limits the thoughts of a chat",
    "echo": "only plain completions repeat their prompt",
    "add_special_tokens": "the chat template writes them",
    "watermarking": "answers are not marked",
    "use_beam_search": "answers are sampled",
    "truncate_prompt_tokens": "no prompt is cut: one that is too long is refused",
    "prompt_embeds": "prompts are text or tokens",
    "documents": "write them into the messages",
    "chat_template": "the model's own template is used",
    "mm_processor_kwargs": "models here read text only",
    "web_search_options": "nothing is searched; offer a tool",
    "extra_args": "nothing is passed to an engine unread",
    "vllm_xargs": "nothing is passed to an engine unread",
    "nvext": "no extension of it is served",
}
"""Fields that would change the answer or reach an engine, and that we do not serve: 400, with the reason.

It holds where a request has no such field of its own. One that asks for nothing (null, false, empty) is as good as
absent.
"""

_CLIENTS_OWN: Final = ("parameters", "schema", "arguments", "input_schema", "json", "guided_json")
"""Schemas and calls, as the APIs name them; and `input` where that is a call's and not a conversation."""


class Origin(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a request comes from: minted by the front door."""

    request_id: str
    accepted_at: float
    """Unix time in seconds."""
    deadline: float | None = None
    """Unix time in seconds."""
    metered: bool = False
    """Whether somebody counts what it costs: the processor then says `Spent`, first and last."""
    session_id: str | None = None
    """What the caller says in `x-session-id`: routers may keep a session's requests on one instance."""
    instance_id: str | None = None
    """The decode worker that a caller who may name one has named: nobody else answers."""


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a stream has beside its deltas."""

    include_usage: bool = False
    continuous_usage_stats: bool = False
    """Usage so far on every chunk, as vLLM has it."""


class JsonSchema(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`response_format.json_schema`."""

    name: str = ""
    schema: dict[str, Any] | bool | None = None
    strict: bool | None = None
    description: str | None = None


class ResponseFormat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The form that an answer must have."""

    type: Literal["text", "json_object", "json_schema", "structural_tag"]
    json_schema: JsonSchema | None = None
    format: dict[str, Any] | None = None
    """Of a structural_tag: forms for parts of the answer, as XGrammar spells them."""
    structures: list[dict[str, Any]] | None = None
    """Of a structural_tag in its older form, with `triggers`."""
    triggers: list[str] | None = None


class StructuredOutputs(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`structured_outputs`, as vLLM has it: exactly one of these. The form that an answer must have."""

    json: dict[str, Any] | GrammarText | None = None
    """A JSON schema, or the text of one."""
    regex: Pattern | None = None
    choice: Choices | None = None
    grammar: GrammarText | None = None
    """EBNF or Lark."""
    json_object: bool | None = None
    structural_tag: dict[str, Any] | GrammarText | None = None


class RequestFields(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What chat and plain completions have in common. None means: the model's default."""

    model: str | None = None
    """Served model name. None is the only model, if there is only one."""
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = 1
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    """0 and -1 keep every token."""
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: StopText | Annotated[list[StopText], Meta(max_length=64)] | None = None
    stop_token_ids: Annotated[list[TokenId], Meta(max_length=1024)] | None = None
    include_stop_str_in_output: bool = False
    min_tokens: CountOrNone | None = None
    ignore_eos: bool | None = False
    logit_bias: Annotated[dict[str, Bias], Meta(max_length=1024)] | None = None
    """Token ids (as JSON keys, so strings) to additions."""
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: dict[str, Any] | GrammarText | None = None
    """This and the next three: older names of what stands in `structured_outputs`."""
    guided_regex: Pattern | None = None
    guided_choice: Choices | None = None
    guided_grammar: GrammarText | None = None
    skip_special_tokens: bool = True
    prompt_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    """Log probabilities of the prompt's tokens, with so many alternatives each. Not in a stream."""
    return_token_ids: bool | None = None
    """Whether the answer has its tokens (`token_ids`) and the prompt's (`prompt_token_ids`) beside the text."""
    return_tokens_as_token_ids: bool | None = None
    """Whether log probabilities name tokens as `token_id:17` instead of by their text."""
    priority: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] | None = None
    """Smaller is more urgent; 0 is usual."""
    cache_salt: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    """Requests with different salts share no KV cache."""
    prompt_cache_key: Label | None = None
    """Requests with the same key go to the same worker where its load allows: a session's name."""
    user: Label | None = None
    safety_identifier: Label | None = None
    service_tier: Label | None = None
    """This and the next two are taken for the clients that send them, and change nothing."""
    store: bool | None = None
    metadata: Metadata | None = None


class FunctionCall(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A call that the assistant made earlier."""

    name: str
    arguments: str | dict[str, Any] = "{}"


class ToolCall(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One of a message's `tool_calls`."""

    function: FunctionCall
    id: str | None = None
    type: Literal["function"] = "function"


class ContentPart(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A part of a message."""

    type: str
    text: str | None = None


class Message(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One turn of a conversation."""

    role: Role
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class Function(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a tool is called and takes."""

    name: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_.:/-]{1,128}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Something that the model may call."""

    function: Function
    type: Literal["function"] = "function"


class ChatRequest(RequestFields, kw_only=True, omit_defaults=True):
    """Body of POST /v1/chat/completions."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    """The newer name of max_tokens; it wins."""
    fit_max_tokens: bool = False
    """Whether a limit beyond the context is cut to what the context leaves, instead of refused; likewise a budget
    for thoughts that cannot be limited."""
    logprobs: bool | None = False
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: list[dict[str, Any]] | None = None
    """As the client wrote them, since the template prints them; their form is checked as `Tool`."""
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = True
    reasoning_effort: Effort | None = None
    """`none` and `minimal` turn thinking off where the model's template can, the others on."""
    enable_thinking: bool | None = None
    """The same switch as Qwen's own service spells it."""
    thinking_token_budget: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    """Most tokens of a thought: then the engine ends it, and the model goes on with its answer. -1: no limit."""
    thinking_budget: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    """The same as Qwen's own service spells it."""
    include_reasoning: bool | None = True
    """Whether the answer has the thought. It is made, and paid for, all the same."""
    chat_template_kwargs: TemplateOptions | None = None
    """Switches of the model's chat template: the names that it reads, and no others."""
    add_generation_prompt: bool = True
    continue_final_message: bool = False


class CompletionRequest(RequestFields, kw_only=True, omit_defaults=True):
    """Body of POST /v1/completions."""

    prompt: str | list[str | TokenId | list[TokenId]]
    """A text, tokens, or a list of either."""
    max_tokens: CountOrNone | None = 16
    """0 only with `echo`: the prompt comes back, perhaps with its log probabilities."""
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    echo: bool | None = False
    best_of: Annotated[int, Meta(ge=1, le=128)] | None = None
    add_special_tokens: bool = True


class ChatCall(msgspec.Struct, frozen=True):
    """What the front door asks of a processor."""

    origin: Origin
    request: ChatRequest


class CompletionCall(msgspec.Struct, frozen=True):
    """The same for plain completions."""

    origin: Origin
    request: CompletionRequest


def refused(sent: Mapping[str, Any]) -> str | None:
    """The first field of `REFUSED` among those that a client `sent` and that asks for something."""
    for name in REFUSED.keys() & sent.keys():
        value = sent[name]
        if value is None or (name == "modalities" and value == ["text"]):
            continue
        if value in (False, [], {}, "") and name != "kv_transfer_params":
            continue
        return name
    return None


def hidden_hand_off(body: Any) -> str | None:
    """Where a body (decoded without a type) has `kv_transfer_params` below its top level.

    Schemas of tools and answers are the client's own words, and so are arguments of calls: not looked into.
    """
    waiting: list[tuple[str, Any]] = [("", body)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, list):
            waiting += [(f"{place}[{index}]", item) for index, item in enumerate(value)]
        elif isinstance(value, dict):
            for name, item in value.items():
                if name == "kv_transfer_params" and item is not None:
                    return f"{place}.{name}".lstrip(".")
                if name not in _CLIENTS_OWN and not (name == "input" and isinstance(item, dict)):
                    waiting.append((f"{place}.{name}", item))
    return None
