"""A hand-off that does not fit must be refused before an engine reads it."""

import msgspec
import pytest

from tandem.core.handoff import Handoff
from tandem.engines.handoffs import HandoffCheck, prompt_digest
from tandem.errors import KvTransferFailed

TOKENS = [5, 6, 7]
NOW = 1000.0


def a_handoff(**changes: object) -> Handoff:
    handoff = Handoff(
        engine="vllm",
        engine_id="e1",
        num_tokens=3,
        expires_at=NOW + 10,
        opaque={"id": "r1", "digest": prompt_digest(TOKENS), "kv": {}},
    )
    return msgspec.structs.replace(handoff, **changes)


@pytest.mark.parametrize(
    ("handoff", "tokens", "reason"),
    [
        (a_handoff(engine="simulated"), TOKENS, "made by 'simulated'"),
        (a_handoff(direction="push"), TOKENS, "direction"),
        (a_handoff(opaque={"id": "r1"}), TOKENS, "lacks digest, kv"),
        (a_handoff(), [5, 6], "covers 3 tokens, the prompt has 2"),
        (a_handoff(), [5, 6, 8], "other tokens"),
        (a_handoff(expires_at=NOW - 1.5), TOKENS, "expired 1.5 s ago"),
    ],
)
def test_a_handoff_that_does_not_fit_is_refused_with_its_reason(
    handoff: Handoff, tokens: list[int], reason: str
) -> None:
    with pytest.raises(KvTransferFailed, match=reason):
        HandoffCheck("vllm", required=("kv",)).admit(handoff, tokens, now=NOW)


def test_a_handoff_is_admitted_once() -> None:
    check = HandoffCheck("vllm")
    check.admit(a_handoff(), TOKENS, now=NOW)
    with pytest.raises(KvTransferFailed, match="already read"):
        check.admit(a_handoff(), TOKENS, now=NOW)
    check.admit(a_handoff(engine_id="e2"), TOKENS, now=NOW)


def test_what_has_expired_is_forgotten() -> None:
    check = HandoffCheck("vllm")
    for number in range(100):
        opaque = {"id": f"r{number}", "digest": prompt_digest(TOKENS)}
        check.admit(a_handoff(opaque=opaque, expires_at=NOW + number + 1), TOKENS, now=NOW + number)
    assert len(check._used) <= 2


def test_the_digest_tells_order_and_length_apart() -> None:
    assert len({prompt_digest(tokens) for tokens in ([1, 2], [2, 1], [1, 2, 0], [1])}) == 4
