"""Addresses are read and written in one way, and the advertised one is never a guess."""

import pytest

from tandem.errors import ConfigError
from tandem.transport.address import format_address, host_of, is_loopback, parse_address, source_address


@pytest.mark.parametrize(
    ("address", "parsed"),
    [("10.0.0.1:80", ("10.0.0.1", 80)), ("[::1]:80", ("::1", 80)), ("worker-0:1", ("worker-0", 1))],
)
def test_an_address_is_read_and_written_back(address: str, parsed: tuple[str, int]) -> None:
    assert parse_address(address) == parsed
    assert format_address(*parsed) == address


@pytest.mark.parametrize("address", ["", "host", "host:", ":80", "host:http"])
def test_what_is_no_address_is_a_config_error(address: str) -> None:
    with pytest.raises(ConfigError, match="no address"):
        parse_address(address)


def test_a_unix_path_is_told_apart() -> None:
    assert parse_address("unix:/run/a:1") == "/run/a:1"


@pytest.mark.parametrize(
    ("url", "host"),
    [("http://etcd:2379", "etcd"), ("etcd:2379", "etcd"), ("nats://u:p@[::1]:4222", "::1"), ("10.0.0.1", "10.0.0.1")],
)
def test_the_host_of_a_url_is_found(url: str, host: str) -> None:
    assert host_of(url) == host


def test_loopback_is_recognised() -> None:
    assert [is_loopback(host) for host in ("localhost", "127.0.0.2", "::1", "10.0.0.1", "etcd")] == [
        True,
        True,
        True,
        False,
        False,
    ]


async def test_the_way_to_this_machine_begins_on_loopback() -> None:
    assert await source_address("127.0.0.1") == "127.0.0.1"


async def test_a_name_that_does_not_resolve_falls_back_to_the_default_route(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tandem.transport.address._ANYWHERE", "127.0.0.9")
    assert await source_address("no-such-host.invalid") == "127.0.0.1"
    monkeypatch.setattr("tandem.transport.address._ANYWHERE", "no-such-host.invalid")
    assert await source_address("no-such-host.invalid") == "127.0.0.1", "there is no route at all"
