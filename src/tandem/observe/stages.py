"""Names of the stages of a request's story, in the order in which they usually happen.

A stage's `detail` holds numbers and names that explain it, never text of a client. `STAGES` is what
`tandem trace` and the reference page print.
"""

from typing import Final

ACCEPTED: Final = "accepted"
TOKENIZED: Final = "tokenized"
ROUTED: Final = "routed"
PREFILL_DECISION: Final = "prefill_decision"
PREFILL_QUEUED: Final = "prefill_queued"
PREFILL_CLAIMED: Final = "prefill_claimed"
PREFILL: Final = "prefill"
FIRST_TOKEN: Final = "first_token"
HANDOFF: Final = "handoff"
KV_PULL: Final = "kv_pull"
PREFILL_LOST: Final = "prefill_lost"
RECOVERED: Final = "recovered"
DECODE: Final = "decode"
INSTANCE_LOST: Final = "instance_lost"
REROUTED: Final = "rerouted"
STOPPED: Final = "stopped"
FINISHED: Final = "finished"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"

STAGES: Final[dict[str, str]] = {
    ACCEPTED: "The front door took the request. Detail: route, model, stream, client_request_id.",
    TOKENIZED: "Chat template and tokenizer. Detail: prompt_tokens, sequences.",
    ROUTED: "A decode worker was chosen. Detail: to, rule, reason, candidates, sequences; with "
    "`router: kv` also expected_cached_tokens, prefill_hint, scores (instance=cost/cached tokens).",
    PREFILL_DECISION: "The decode worker decided where to prefill. Detail: site, reason.",
    PREFILL_QUEUED: "The prefill job was put on the queue; its length is the wait. Detail: lane, attempt.",
    PREFILL_CLAIMED: "A prefill worker took the job. Detail: prefill_instance, attempt, delivery.",
    PREFILL: "The prompt's KV was computed. Detail: prompt_tokens, cached_tokens, site.",
    FIRST_TOKEN: "The first token was there. Detail: source (prefill or decode).",
    HANDOFF: "The prefill worker said where the KV blocks are. Detail: tokens.",
    KV_PULL: "The decode engine fetched the KV blocks. Detail: kv_bytes, tokens.",
    PREFILL_LOST: "A remote prefill was given up. Detail: reason, attempt.",
    RECOVERED: "The request went on after a loss. Detail: kind, reason.",
    DECODE: "Tokens were generated. Detail: output_tokens.",
    INSTANCE_LOST: "The decode worker was lost. Detail: lost, code, output_tokens, sequence.",
    REROUTED: "The request went on at another decode worker. Detail: to, replayed_tokens, note, sequence.",
    STOPPED: "A stop string was met and the worker's stream was closed.",
    FINISHED: "The answer is complete. Detail: finish_reason, prompt_tokens, output_tokens, cached_tokens.",
    FAILED: "The request ended in an error. Detail: code.",
    CANCELLED: "The client went away.",
}
