"""An outage is told when it begins, seldom while it lasts, and when it is over."""

import logging

import pytest

from tandem.transport.outage_log import OutageLog

log = logging.getLogger(__name__)


def test_an_outage_of_an_hour_is_a_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    outage = OutageLog(log, "hub.watch", "prefix=/a", clock=lambda: now[0])
    with caplog.at_level(logging.INFO):
        outage.works()
        for _ in range(1800):
            outage.broken("nobody there")
            now[0] += 2.0
        outage.works()
        outage.works()
        outage.broken("again")
    told = [record.getMessage() for record in caplog.records]
    assert told[0] == "hub.watch_broken prefix=/a reason='nobody there'"
    assert told[1] == "hub.watch_still_broken prefix=/a for_s=300 reason='nobody there'"
    assert told[-2:] == ["hub.watch_back prefix=/a after_s=3600", "hub.watch_broken prefix=/a reason='again'"]
    assert len(told) == 14
