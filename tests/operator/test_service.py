"""The operator as a process: what ends it, and what does not."""

import asyncio
from typing import Any

import kopf
import pytest

from tandem.operator import service
from tandem.operator.access import Access
from tandem.operator.service import Operator, OperatorSettings


async def test_kopf_begins_again_after_what_the_server_told_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun = 0

    async def run(**_: Any) -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise RuntimeError("406: Not Acceptable")

    monkeypatch.setattr(kopf, "operator", run)
    monkeypatch.setattr(service, "_KOPF_PAUSE_S", 0.01)
    stop = asyncio.Event()
    async with asyncio.timeout(10):
        await Operator(Access(server="http://127.0.0.1:1"), OperatorSettings(), stop)._kopf()
    assert begun == 3
    assert stop.is_set(), "an end without an error is a signal that kopf has taken from us"
    assert [record.getMessage().split()[0] for record in caplog.records] == ["kopf.begins_again"] * 2
