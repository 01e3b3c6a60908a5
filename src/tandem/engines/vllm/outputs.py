"""Our request in vLLM's words, and vLLM's outputs in ours."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tandem.core.embeddings import EmbedOutput, EmbedRequest
from tandem.core.request import FinishReason, GenerateOutput, GenerateRequest, Grammar, Sampling, TokenLogprobs

_FINISH: dict[str, FinishReason] = {"stop": "stop", "length": "length", "repetition": "stop"}


def sampling_params(sampling: Sampling, *, kv_transfer_params: Mapping[str, Any] | None = None) -> Any:
    """vLLM's SamplingParams. Tokens only: text is made elsewhere.

    Raises:
        ValueError: vLLM refuses a value, in its own words.
    """
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    limits = {} if sampling.max_thinking_tokens is None else {"thinking_token_budget": sampling.max_thinking_tokens}
    return SamplingParams(
        max_tokens=sampling.max_tokens,
        min_tokens=sampling.min_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        repetition_penalty=sampling.repetition_penalty,
        seed=sampling.seed,
        stop_token_ids=list(sampling.stop_token_ids),
        ignore_eos=sampling.ignore_eos,
        logit_bias=sampling.logit_bias,
        logprobs=sampling.logprobs,
        prompt_logprobs=sampling.prompt_logprobs,
        structured_outputs=None if sampling.grammar is None else _structured(sampling.grammar),
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
        **limits,  # not every vLLM that is served knows it
        extra_args=None if kv_transfer_params is None else {"kv_transfer_params": dict(kv_transfer_params)},
    )


def _structured(grammar: Grammar) -> Any:
    from vllm.sampling_params import StructuredOutputsParams

    match grammar.kind:
        case "json_object":
            return StructuredOutputsParams(json_object=True)
        case "json_schema":
            return StructuredOutputsParams(json=grammar.value)
        case "choice":
            return StructuredOutputsParams(choice=json.loads(grammar.value))
        case "regex":
            return StructuredOutputsParams(regex=grammar.value)
        case "grammar":
            return StructuredOutputsParams(grammar=grammar.value)
        case "structural_tag":
            return StructuredOutputsParams(structural_tag=grammar.value)


def pooling_params(request: EmbedRequest) -> Any:
    """vLLM's PoolingParams. Raises `ValueError` as `sampling_params`."""
    from vllm import PoolingParams

    return PoolingParams(task="embed", dimensions=request.dimensions)


def embedding_of(output: Any) -> EmbedOutput:
    """The vector of a finished pooling request."""
    return EmbedOutput(output.outputs.data.float().cpu().contiguous().numpy().astype("<f4").tobytes())


class OutputMapper:
    """Turns one request's outputs into ours, in order."""

    def __init__(self, request: GenerateRequest) -> None:
        self._sampling = request.sampling
        self._prompt = request.prompt_token_ids
        self._first = True

    def map(self, output: Any) -> GenerateOutput:
        """One of vLLM's increments. `finish_reason` error and abort are the caller's business."""
        completion = output.outputs[0]
        tokens = list(completion.token_ids)
        finish = _FINISH.get(completion.finish_reason or "")
        stop_token = None
        if completion.finish_reason == "stop" and tokens:
            # vLLM names the token only if it came from stop_token_ids; at the end of sequence it says None.
            stop_token = completion.stop_reason if isinstance(completion.stop_reason, int) else tokens[-1]
        prompt_logprobs = None
        first, self._first = self._first, False
        if first and self._sampling.prompt_logprobs is not None and output.prompt_logprobs is not None:
            prompt_logprobs = self._prompt_logprobs(output.prompt_logprobs, self._sampling.prompt_logprobs)
        return GenerateOutput(
            token_ids=tokens,
            finish_reason=finish,
            stop_token_id=stop_token,
            logprobs=self._logprobs(tokens, completion.logprobs),
            prompt_logprobs=prompt_logprobs,
            cached_tokens=(output.num_cached_tokens or 0) if first else None,
        )

    def _logprobs(self, tokens: Sequence[int], positions: Iterable[Any] | None) -> list[TokenLogprobs] | None:
        if self._sampling.logprobs is None or positions is None:
            return None
        count = self._sampling.logprobs
        return [_one(token, position, count) for token, position in zip(tokens, positions, strict=True)]

    def _prompt_logprobs(self, positions: Iterable[Any], count: int) -> list[TokenLogprobs | None]:
        return [
            None if not position else _one(token, position, count)
            for token, position in zip(self._prompt, positions, strict=True)
        ]


def _one(token: int, position: Mapping[int, Any], count: int) -> TokenLogprobs:
    """vLLM reports a token's `count` likeliest rivals and, where it is not one of them, the token itself."""
    chosen = position[token]
    ranked = sorted(((entry.rank, id_, entry.logprob) for id_, entry in position.items()), key=lambda item: item[0])
    top = [(id_, logprob) for rank, id_, logprob in ranked if rank <= count][:count]
    return TokenLogprobs(chosen.logprob, chosen.rank, top)


def first_token_of(output: GenerateOutput) -> GenerateOutput:
    """The first token alone, of an output that a slow reader got merged with the next."""
    return GenerateOutput(
        token_ids=output.token_ids[:1],
        logprobs=None if output.logprobs is None else output.logprobs[:1],
        prompt_logprobs=output.prompt_logprobs,
        cached_tokens=output.cached_tokens,
    )
