"""Strategic merge, against what kubectl does."""

from typing import Any

import pytest

from tandem.operator.merge import strategic_merge


@pytest.mark.parametrize(
    ("base", "patch", "merged"),
    [
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({"m": {"x": 1}}, {"m": {"y": 2}}, {"m": {"x": 1, "y": 2}}),
        ({"m": {"x": 1}}, {"m": {"y": 2, "$patch": "replace"}}, {"m": {"y": 2}}),
        ({"m": {"x": 1}}, {"m": {"$patch": "delete"}}, {"m": {}}),
        ({"command": ["a", "b"]}, {"command": ["c"]}, {"command": ["c"]}),
        (
            {"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}]},
            {"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}]}, {"name": "b"}]},
            {
                "containers": [
                    {"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]},
                    {"name": "b"},
                ]
            },
        ),
        (
            {"volumes": [{"name": "a"}, {"name": "b"}]},
            {"volumes": [{"name": "a", "$patch": "delete"}]},
            {"volumes": [{"name": "b"}]},
        ),
        ({"env": [{"name": "a"}]}, {"env": [{"$patch": "replace"}, {"name": "b"}]}, {"env": [{"name": "b"}]}),
        (
            {"ports": [{"containerPort": 80, "name": "http"}]},
            {
                "ports": [
                    {"containerPort": 80, "protocol": "UDP"},
                    {"containerPort": 80, "protocol": "TCP", "name": "web"},
                ]
            },
            {
                "ports": [
                    {"containerPort": 80, "name": "web", "protocol": "TCP"},
                    {"containerPort": 80, "protocol": "UDP"},
                ]
            },
        ),
        (
            {"volumeMounts": [{"mountPath": "/a", "name": "x"}]},
            {"volumeMounts": [{"mountPath": "/a", "name": "y"}]},
            {"volumeMounts": [{"mountPath": "/a", "name": "y"}]},
        ),
        ({}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
        ({"args": ["a"]}, {"$setElementOrder/containers": [], "args": ["b"]}, {"args": ["b"]}),
    ],
)
def test_merge(base: dict[str, Any], patch: dict[str, Any], merged: dict[str, Any]) -> None:
    before = repr(base)
    assert strategic_merge(base, patch) == merged
    assert repr(base) == before
