"""What the processor asks a router, and what it is told."""

import msgspec


class RouteRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where should this prompt go?"""

    request_id: str
    """Names the choice until `Router.finished` is told of it."""
    candidates: list[str]
    """Instance ids that serve the model and have not failed this request; at least one."""
    token_ids: list[int] = []
    """The whole prompt: routers by KV cache compare its blocks with what instances hold."""
    sequences: int = 1
    """How many sequences the choice is for: n > 1 share a prompt and go to one instance."""
    cache_salt: str | None = None
    lora_name: str | None = None
    session_id: str | None = None
    """Requests of one session may be kept on one instance, if the router's settings say so."""
    asker: str = ""
    """Process that asks, where the router is in another one: when it is lost, its requests are over."""


class CandidateScore(msgspec.Struct, frozen=True, array_like=True):
    """What a rule thought of one candidate."""

    instance_id: str
    dp_rank: int | None
    cost_s: float
    cached_tokens: int
    wait_s: float


class RouteChoice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of the candidates, and why."""

    instance_id: str
    rule: str
    reason: str = ""
    """Short and countable: `turn`, `least_loaded`, `overlap`, `only_one`."""
    cached_tokens: int | None = None
    """Prompt tokens that the instance is believed to hold, if the rule looked."""
    dp_rank: int | None = None
    """Data-parallel rank of the instance, if it has several."""
    scores: list[CandidateScore] = []
    """What each candidate would have cost, if the rule looked."""
    prefill_hint: str | None = None
    """Prefill instance whose cache fits best, if the rule looked."""
