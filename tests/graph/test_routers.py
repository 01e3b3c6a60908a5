"""Which router a processor asks."""

import pytest

from tandem.graph.routers import RouterPlace, router_place


@pytest.mark.parametrize(
    ("name", "linked", "instances", "place"),
    [
        ("kv", True, 1, "linked"),
        ("kv", False, 2, "far"),
        ("kv-load", False, 1, "far"),
        ("kv", False, 0, "own"),
        ("round-robin", True, 1, "own"),
        ("my-own-rule", False, 3, "own"),
    ],
)
def test_only_routing_by_kv_is_left_to_a_router_that_others_may_ask(
    name: str, linked: bool, instances: int, place: RouterPlace
) -> None:
    assert router_place(name, linked=linked, instances=instances) == place
