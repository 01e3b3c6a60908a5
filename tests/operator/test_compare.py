"""When an object is written."""

from typing import Any

import pytest

from tandem.operator.compare import Memo, is_part_of, must_apply, stamped, version_of
from tandem.operator.types import Raw


@pytest.mark.parametrize(
    ("wish", "found", "part"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": {}}, {}, True),
        ({"a": []}, {}, True),
        ([{"name": "x"}], [{"name": "x", "protocol": "TCP"}], True),
        ([{"name": "x"}], [{"name": "x"}, {"name": "y"}], False),
        ({"cpu": "1000m"}, {"cpu": "1"}, True),
        ({"cpu": 8}, {"cpu": "8"}, True),
        ({"cpu": 0.5}, {"cpu": "500m"}, True),
        ({"memory": "1024Mi"}, {"memory": "1Gi"}, True),
        ({"memory": "1000Mi"}, {"memory": "1Gi"}, False),
        ({"flag": True}, {"flag": "1"}, False),
        ([{"uid": "1", "kind": "a"}], [{"uid": "0"}, {"uid": "1", "kind": "a"}], True),
    ],
)
def test_is_part_of(wish: Any, found: Any, part: bool) -> None:
    assert is_part_of(wish, found) is part


def a_wish(**spec: Any) -> Raw:
    return stamped({"kind": "X", "metadata": {"name": "x", "labels": {"l": "1"}}, "spec": spec})


def answer(wish: Raw, **changes: Any) -> Raw:
    metadata = {**wish["metadata"], "generation": 1, "resourceVersion": "5"}
    return {**wish, "metadata": metadata, "spec": {**wish["spec"], "default": True, **changes}}


def test_what_is_there_is_not_written_again() -> None:
    assert not must_apply(a_wish(a=1), answer(a_wish(a=1)), None)


@pytest.mark.parametrize(
    ("wish", "found"),
    [
        (a_wish(a=1), None),
        (a_wish(a=2), answer(a_wish(a=1))),
        (a_wish(), answer(a_wish(a=1))),  # less is wished: the difference is in the hash only
        (a_wish(a=1), answer(a_wish(a=1), a=9)),  # somebody edited it
    ],
)
def test_what_differs_is_written(wish: Raw, found: Raw | None) -> None:
    assert must_apply(wish, found, None)


def test_a_label_that_somebody_took_away_is_written_again() -> None:
    found = answer(a_wish(a=1))
    found["metadata"] = {**found["metadata"], "labels": {}}
    assert must_apply(a_wish(a=1), found, None)


def test_a_value_that_the_server_spells_otherwise_is_written_once() -> None:
    wish = a_wish(time="24h")
    found = answer(wish, time="1d")
    assert must_apply(wish, found, None)
    memo = Memo(wish["metadata"]["annotations"]["tandem-operator/applied-hash"], version_of(found))
    assert not must_apply(wish, found, memo)
    edited = {**found, "metadata": {**found["metadata"], "generation": 2}}
    assert must_apply(wish, edited, memo)
