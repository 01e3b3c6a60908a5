"""The operator as a process: what ends it, and what does not."""

import asyncio
from typing import Any

import kopf
import pytest

from tandem.cli import operator as command
from tandem.errors import ConfigError, LeaseLost, Unavailable
from tandem.operator import service
from tandem.operator.access import Access
from tandem.operator.api import Api, ApiError
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


async def test_a_look_for_upstreams_operator_that_fails_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [ApiError(503, "Unavailable", "etcd has no leader"), ConfigError("another operator is running")]

    async def look(*_: Any) -> None:
        raise answers.pop(0)

    monkeypatch.setattr(service, "refuse_beside_upstream", look)
    monkeypatch.setattr(service, "_UPSTREAM_LOOK_S", 0.01)
    access = Access(server="http://127.0.0.1:1")
    with pytest.raises(ConfigError, match="another operator is running"):
        await Operator(access, OperatorSettings(), asyncio.Event())._look_for_upstream(Api(access))
    assert "etcd has no leader" in caplog.text


@pytest.mark.parametrize(
    ("ended", "says"),
    [
        (ExceptionGroup("tasks", [LeaseLost("another operator took the lease")]), "another operator took the lease"),
        (ApiError(0, "ConnectionLost", "Cannot connect"), "http://127.0.0.1:1: Cannot connect"),
    ],
)
async def test_what_ends_it_is_a_sentence(ended: Exception, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(_: Operator) -> None:
        raise ended

    monkeypatch.setattr(Operator, "run", run)
    options = command._parser("tandem operator").parse_args([])
    with pytest.raises(Unavailable, match=says):
        await command._serve(Access(server="http://127.0.0.1:1"), options, {})
