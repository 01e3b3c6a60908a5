"""Decisions about prefill, as functions of what is known now.

`prefill_site` says where a prompt is prefilled and why; `first_token_is_exact` whether the token that
the prefill worker samples may be sent to the client. `advanced` is the request that
remains once some tokens have been sent.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from tandem.core.request import GenerateRequest, Sampling

COMMON_LANE = "common"
"""The queue's lane that every prefill worker takes from."""

Reason = Literal[
    "always",
    "long_prompt",
    "remote_prefill_off",
    "prompt_logprobs",
    "no_prefill_worker",
    "incompatible_prefill_workers",
    "bus_outage",
    "short_prompt",
    "queue_full",
]

FALLBACKS: frozenset[Reason] = frozenset(
    {"no_prefill_worker", "incompatible_prefill_workers", "bus_outage", "queue_full"}
)
"""Reasons for which a prompt stays local although the settings would send it away: counted as fallbacks."""


@dataclass(frozen=True, slots=True)
class PrefillSite:
    """Where a prompt is prefilled, and why."""

    remote: bool
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class DisaggRules:
    """The settings that `prefill_site` weighs. See `tandem.settings` for how each is set."""

    remote_prefill: bool
    conditional_disagg: bool
    max_local_prefill_length: int
    """Uncached prompt tokens that are still prefilled here. Tokens."""
    max_prefill_queue_size: int
    """Waiting jobs from which on prompts stay here. Jobs."""


def prefill_site(
    rules: DisaggRules,
    *,
    uncached_tokens: int,
    wants_prompt_logprobs: bool,
    queued_jobs: int,
    prefill_workers: int,
    compatible_prefill_workers: int,
    bus_connected: bool,
) -> PrefillSite:
    """Local or remote?

    With `conditional_disagg` off every prompt goes remote that can. With it on, short prompts and
    prompts that would meet a full queue stay here.

    Args:
        uncached_tokens: prompt tokens that this worker would have to compute.
        queued_jobs: jobs that wait for a prefill worker, in all lanes.
        compatible_prefill_workers: live ones whose KV this engine can read (`core.cards.why_not_paired`).
    """
    if not rules.remote_prefill:
        return PrefillSite(False, "remote_prefill_off")
    if wants_prompt_logprobs:
        return PrefillSite(False, "prompt_logprobs")
    if rules.conditional_disagg and uncached_tokens <= rules.max_local_prefill_length:
        return PrefillSite(False, "short_prompt")
    if prefill_workers == 0:
        return PrefillSite(False, "no_prefill_worker")
    if compatible_prefill_workers == 0:
        return PrefillSite(False, "incompatible_prefill_workers")
    if not bus_connected:
        return PrefillSite(False, "bus_outage")
    if not rules.conditional_disagg:
        return PrefillSite(True, "always")
    if queued_jobs >= rules.max_prefill_queue_size:
        return PrefillSite(False, "queue_full")
    return PrefillSite(True, "long_prompt")


def first_token_is_exact(sampling: Sampling, *, prompt_tokens: int, max_model_len: int) -> bool:
    """Whether prefill's first sampled token is the one that decode would have sampled, and decode goes on as if it had.

    The decode engine sees the first token as part of its prompt. That is exact for greedy and for
    unseeded sampling. It is not where the engine keeps state per *output* token: a seeded generator
    would repeat its first draw, presence and frequency penalties would not count the token, a grammar
    would start over, `min_tokens` would count from zero. (Repetition penalty counts prompt and output
    alike, so it stays exact.) When only one token is wanted, no decode follows and every case is exact.
    """
    if sampling.max_tokens == 1:
        return prompt_tokens + 1 <= max_model_len
    if prompt_tokens + 2 > max_model_len:  # the prefill engine needs room for a second token
        return False
    seeded = sampling.seed is not None and sampling.temperature > 0
    penalised = sampling.presence_penalty != 0 or sampling.frequency_penalty != 0
    return not (seeded or penalised or sampling.grammar is not None or sampling.min_tokens > 0)


def advanced(request: GenerateRequest, sent: Sequence[int]) -> GenerateRequest:
    """What is left of `request` after the tokens `sent`: they join the prompt and no longer count as output."""
    if not sent:
        return request
    sampling = msgspec.structs.replace(
        request.sampling,
        max_tokens=request.sampling.max_tokens - len(sent),
        min_tokens=max(0, request.sampling.min_tokens - len(sent)),
    )
    return msgspec.structs.replace(
        request,
        prompt_token_ids=[*request.prompt_token_ids, *sent],
        sampling=sampling,
        replayed_tokens=request.replayed_tokens + len(sent),
    )


def queue_name(namespace: str, model_path: str) -> str:
    """Name of the prefill queue of a model: the same for every worker that was given the same `model`.

    Jobs of two models never meet, and no shared queue is ever purged.
    """
    tail = model_path.rstrip("/").rsplit("/", 1)[-1] or "model"
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", tail)
    return f"{namespace}_{slug}_prefill_queue"


def lane_for(job_id: str, preferred: str | None, fitting: Sequence[str], *, all_fit: bool) -> str:
    """The lane a job goes to: the preferred worker's while it lives and fits, else the common one.

    Everybody takes from the common lane. So while somebody is there whose KV could not be read, the job goes to a
    lane of one who fits, the same for each offer of a job.

    Args:
        fitting: live prefill workers whose KV can be read.
        all_fit: whether these are all that live.
    """
    if preferred is not None and preferred in fitting:
        return preferred
    if all_fit or not fitting:
        return COMMON_LANE
    return fitting[zlib.crc32(job_id.encode()) % len(fitting)]
