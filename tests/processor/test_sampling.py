"""The client's knobs, then the model's recommendations, then OpenAI's defaults; all within the context."""

from typing import Any

import msgspec
import pytest

from tandem.core.openai_in import ChatRequest, CompletionRequest
from tandem.core.request import Sampling
from tandem.errors import ContextTooLong, RequestError
from tandem.processor.model import GenerationDefaults
from tandem.processor.sampling import sampling_for, stop_strings

HI: Any = [{"role": "user", "content": "Hi"}]
MADE_FOR = GenerationDefaults(
    temperature=0.6, top_p=0.95, top_k=20, min_p=0.1, repetition_penalty=1.05, max_new_tokens=50
)


def sampled(
    defaults: GenerationDefaults | None = None, prompt_tokens: int = 10, ours: int | None = None, **fields: Any
) -> Sampling:
    request: ChatRequest | CompletionRequest
    if "prompt" in fields:
        request = msgspec.convert(fields, CompletionRequest)
    else:
        request = msgspec.convert({"messages": HI, **fields}, ChatRequest)
    return sampling_for(
        request,
        prompt_tokens=prompt_tokens,
        max_model_len=100,
        vocab_size=1000,
        defaults=defaults or GenerationDefaults(),
        default_max_tokens=ours,
    )


def test_openais_defaults() -> None:
    assert sampled() == Sampling(max_tokens=90)


def test_a_seed_of_minus_one_is_none_as_vllm_has_it() -> None:
    assert sampled(seed=-1).seed is None
    assert sampled(seed=-2).seed == -2


def test_the_model_recommends_and_the_client_decides() -> None:
    want = Sampling(max_tokens=50, temperature=0.6, top_p=0.95, top_k=20, min_p=0.1, repetition_penalty=1.05)
    assert sampled(MADE_FOR) == want
    mine = {"temperature": 0, "top_p": 1, "top_k": -1, "min_p": 0, "repetition_penalty": 1, "max_tokens": 60}
    assert sampled(MADE_FOR, **mine) == Sampling(max_tokens=60, temperature=0)


@pytest.mark.parametrize(
    ("fields", "ours", "max_tokens"),
    [
        ({}, None, 90),
        ({}, 30, 30),
        ({}, 500, 90),
        ({"max_tokens": 90}, 30, 90),
        ({"max_tokens": 5, "max_completion_tokens": 7}, None, 7),
        ({"prompt": "x"}, None, 16),
        ({"prompt": "x", "max_tokens": None}, None, 90),
        ({"prompt": "x", "max_tokens": 0, "echo": True}, None, 1),
    ],
)
def test_the_output_limit(fields: dict[str, Any], ours: int | None, max_tokens: int) -> None:
    assert sampled(ours=ours, **fields).max_tokens == max_tokens


@pytest.mark.parametrize(("prompt_tokens", "fields"), [(100, {}), (200, {}), (10, {"max_tokens": 91})])
def test_what_does_not_fit_is_refused(prompt_tokens: int, fields: dict[str, Any]) -> None:
    with pytest.raises(ContextTooLong, match="the model takes 100"):
        sampled(prompt_tokens=prompt_tokens, **fields)


@pytest.mark.parametrize(
    ("fields", "logprobs", "prompt_logprobs"),
    [
        ({"logprobs": True}, 0, None),
        ({"logprobs": True, "top_logprobs": 3}, 3, None),
        ({"logprobs": False}, None, None),
        ({"prompt": "x", "logprobs": 0}, 0, None),
        ({"prompt": "x", "logprobs": 2, "echo": True}, 2, 2),
        ({"prompt": "x", "echo": True}, None, None),
    ],
)
def test_log_probabilities(fields: dict[str, Any], logprobs: int | None, prompt_logprobs: int | None) -> None:
    found = sampled(**fields)
    assert (found.logprobs, found.prompt_logprobs) == (logprobs, prompt_logprobs)


@pytest.mark.parametrize("key", ["", "-1", "1000", "1.5", "²", "0x1", "01", "9" * 5000, "0" * 5000])
def test_a_bias_is_for_a_token_that_exists(key: str) -> None:
    with pytest.raises(RequestError, match="no token id below 1000"):
        sampled(logit_bias={key: 1})
    assert sampled(logit_bias={"999": -1.5}).logit_bias == {999: -1.5}


def test_stop_is_one_text_or_several() -> None:
    for stop, found in ((None, []), ("a", ["a"]), (["a", "b"], ["a", "b"])):
        assert stop_strings(msgspec.convert({"messages": HI, "stop": stop}, ChatRequest)) == found
