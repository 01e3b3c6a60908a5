"""Pages of other sites: off by default, on for the origins that are named."""

import pytest
from tests.frontend.conftest import OpenDoor

from tandem.frontend.guard.cors import Cors
from tandem.frontend.guard.keyring import Keys
from tandem.settings import GuardSettings

SITE = "https://chat.example.com"
ASKING = {"origin": SITE, "access-control-request-method": "POST", "access-control-request-headers": "content-type"}


async def test_without_the_setting_nothing_is_said_of_it(door: OpenDoor) -> None:
    one = await door()
    for reply in (
        await one.client.options("/v1/chat/completions", headers=ASKING),
        await one.client.get("/live", headers={"origin": SITE}),
    ):
        assert not [name for name in reply.headers if name.startswith("access-control")]
    assert (await one.client.options("/v1/chat/completions", headers=ASKING)).status_code == 405


async def test_a_named_site_is_told_what_it_may_ask_before_it_shows_a_key(door: OpenDoor) -> None:
    one = await door(cors=Cors([SITE]), keys=Keys(api_key="s3cret"))
    reply = await one.client.options("/v1/chat/completions", headers=ASKING)
    assert (reply.status_code, reply.content) == (204, b"")
    assert reply.headers["access-control-allow-origin"] == SITE
    assert reply.headers["access-control-allow-methods"] == "POST"
    assert "authorization" in reply.headers["access-control-allow-headers"]
    assert reply.headers["vary"] == "origin"
    assert "access-control-allow-credentials" not in reply.headers
    reply = await one.client.get("/v1/models", headers={"origin": SITE})
    assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (401, SITE), "a page may read errors"
    assert "x-request-id" in reply.headers["access-control-expose-headers"]
    assert (await one.client.options("/v1/nothing", headers=ASKING)).status_code == 404


async def test_other_sites_get_nothing(door: OpenDoor) -> None:
    one = await door(cors=Cors([SITE]))
    for origin in ("https://evil.example", SITE + ".evil.example", SITE.upper(), "null", "http://chat.example.com"):
        reply = await one.client.options("/v1/chat/completions", headers={**ASKING, "origin": origin})
        assert (reply.status_code, "access-control-allow-origin" in reply.headers) == (405, False), origin
        assert reply.headers["vary"] == "origin"


def test_every_site_without_cookies() -> None:
    told = Cors(["*"]).answer({b"origin": b"https://any.example"})
    assert told["access-control-allow-origin"] == "*"
    assert "vary" not in told


def test_clients_own_headers_are_allowed_and_strange_ones_are_not() -> None:
    asked = {
        b"origin": SITE.encode(),
        b"access-control-request-method": b"POST",
        b"access-control-request-headers": b"X-Stainless-Lang, anthropic-dangerous-direct-browser-access, x-evil",
    }
    told = Cors([SITE]).preflight(asked, ["POST"])
    assert told is not None
    allowed = told["access-control-allow-headers"]
    assert ("x-stainless-lang" in allowed, "anthropic-dangerous" in allowed, "x-evil" in allowed) == (True, True, False)


@pytest.mark.parametrize("origin", ["chat.example.com", "https://chat.example.com/", "ftp://x", "https://x/y"])
def test_what_is_no_origin_is_told_at_start(origin: str) -> None:
    assert "is no origin" in GuardSettings(cors_origins=(origin,)).check()[0]
