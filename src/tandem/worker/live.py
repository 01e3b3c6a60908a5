"""Settings that change while requests run: `max_local_prefill_length`, under the key that the guide's era used."""

import dataclasses
import logging

import msgspec

from tandem.disagg.rules import DisaggRules
from tandem.transport.ports import Store

log = logging.getLogger(__name__)


def live_key(served_model_name: str) -> str:
    """Where the store holds `{"max_local_prefill_length": N}` for a model. Deleting it brings the setting back."""
    return f"public/components/disagg_router/models/chat/{served_model_name}"


class _Live(msgspec.Struct, frozen=True):
    max_local_prefill_length: int


class LiveRules:
    """The disaggregation rules in force: the settings, with what the store says now on top."""

    def __init__(self, settled: DisaggRules) -> None:
        self._settled = settled
        self._now = settled

    def __call__(self) -> DisaggRules:
        return self._now

    async def watch(self, store: Store, served_model_name: str) -> None:
        """Follow the store until cancelled. What does not parse is named in the log and changes nothing."""
        key = live_key(served_model_name)
        async with store.watch(key) as events:
            async for event in events:
                if event.key != key:
                    continue
                self._now = self._settled if event.kind == "delete" else self._changed(event.value)
                log.info("disagg.live max_local_prefill_length=%d", self._now.max_local_prefill_length)

    def _changed(self, value: bytes) -> DisaggRules:
        try:
            length = msgspec.json.decode(value, type=_Live).max_local_prefill_length
        except msgspec.MsgspecError as fault:
            log.error("disagg.live_refused value=%r reason=%s", value[:200], fault)
            return self._now
        if length < 0:
            log.error("disagg.live_refused max_local_prefill_length=%d is negative", length)
            return self._now
        return dataclasses.replace(self._now, max_local_prefill_length=length)
