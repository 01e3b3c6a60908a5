"""Which prefill workers could compute a prompt for each decode worker."""

from collections.abc import Sequence

from tandem.core.cards import InstanceCard, why_not_paired
from tandem.runtime.ports import InstanceView


class Pairs:
    """Pairs of two components' workers, worked out anew only when either side has changed.

    A worker that decodes too is left out: it is a candidate itself, and prefill queues are the others'.
    """

    def __init__(self, decode: InstanceView, prefill: InstanceView) -> None:
        self._decode = decode
        self._prefill = prefill
        self._pictures: tuple[Sequence[InstanceCard], Sequence[InstanceCard]] = (), ()
        self._known: dict[str, list[str]] = {}

    def of(self, decode_id: str) -> list[str]:
        """Prefill workers whose KV this decode worker can read; none while it is not known."""
        decode, prefill = self._decode.all(), self._prefill.all()
        if decode is not self._pictures[0] or prefill is not self._pictures[1]:
            self._pictures, self._known = (decode, prefill), {}
        known = self._known.get(decode_id)
        if known is None:
            known = self._known[decode_id] = self._reads_from(decode_id, decode, prefill)
        return known

    def _reads_from(self, decode_id: str, decode: Sequence[InstanceCard], prefill: Sequence[InstanceCard]) -> list[str]:
        here = {card.instance_id: card.engine for card in decode}
        facts = here.get(decode_id)
        if facts is None:
            return []
        return [
            card.instance_id
            for card in prefill
            if card.instance_id not in here and card.engine is not None and why_not_paired(card.engine, facts) is None
        ]
