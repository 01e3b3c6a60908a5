"""API keys: made, listed, found, and followed in a file that changes."""

import os
from pathlib import Path

import pytest
from tests.frontend.conftest import OpenDoor

from tandem.cli.main import main
from tandem.errors import ConfigError
from tandem.frontend.guard.keyring import Keys
from tandem.frontend.guard.keys import KeyRing, hash_of, new_key, read_keys, shown_key


class Clock:
    """Time that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_new_key_is_long_random_and_kept_as_a_hash_only() -> None:
    made, other = new_key("alice", {"tokens-per-day": 5}), new_key("bob")
    assert made.key != other.key
    assert len(made.key) >= 4 + 43  # 256 bits
    assert made.key not in made.line
    (read,) = read_keys(made.line, "keys.yaml")
    assert (read, read.sha256, read.tokens_per_day) == (made.entry, hash_of(made.key), 5)


def test_lines_of_several_keys_are_a_file() -> None:
    made = [new_key(name, {"models": ["m"], "priority": 1}) for name in ("a", "b.c@d", "null", "1e5")]
    ring = KeyRing(read_keys("# keys\n" + "\n".join(one.line for one in made), "keys.yaml"))
    found = [ring.find(one.key.encode()) for one in made]
    assert [entry.name for entry in found if entry] == ["a", "b.c@d", "null", "1e5"]
    assert ring.find(b"") is None
    assert ring.find(made[0].key[:-1].encode()) is None
    assert ring.find(bytes.fromhex(made[0].entry.sha256)) is None, "a stolen hash opened the door"
    assert ring.find(made[0].entry.sha256.encode()) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- {name: a}", "key 1 (a): sha256 is missing"),
        ("- {sha256: ab}", "key 1: sha256 must be a string that matches"),
        (f"- {{name: a, sha256: {'A' * 64}}}", "key 1 (a): sha256 must be a string that matches"),
        (f"- {{name: 'a b', sha256: {'a' * 64}}}", "key 1: name must be a string that matches"),
        (f"- {{name: a, sha256: {'a' * 64}, tokens-per-hour: 5}}", "tokens-per-hour is not known"),
        (f"- {{name: a, sha256: {'a' * 64}, tokens-per-day: 0}}", "tokens-per-day must be an integer from 1 to"),
        (f"- {{name: a, sha256: {'a' * 64}}}\n- {{name: a, sha256: {'b' * 64}}}", "key 2 (a) has the name of another"),
        (f"- {{name: a, sha256: {'a' * 64}}}\n- {{name: b, sha256: {'a' * 64}}}", "key 2 (b) has the sha256 of anoth"),
        ("a: secret", "must be a list of keys"),
        ("- {secret", "line 1 is not YAML"),
        ("- !!python/object:os.system {}", "is not YAML"),
    ],
)
def test_a_wrong_list_is_told_by_entry_and_field_and_repeats_no_secret(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_keys(text, "keys.yaml")
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_key_that_could_be_guessed_is_not_taken() -> None:
    with pytest.raises(ConfigError, match="11 characters can be guessed"):
        new_key("a", key="correcthors")
    assert new_key("a", key="c" * 24).entry.sha256 == hash_of("c" * 24)


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({b"authorization": b"Bearer k"}, b"k"),
        ({b"authorization": b"bearer  k "}, b"k"),
        ({b"authorization": b"Basic k"}, None),
        ({b"authorization": b"k"}, None),
        ({b"x-api-key": b"k"}, b"k"),
        ({b"api-key": b"k"}, b"k"),
        ({b"authorization": b"Basic k", b"x-api-key": b"k"}, None),
        ({}, None),
    ],
)
def test_a_key_is_shown_as_openai_anthropic_and_azure_clients_do(
    headers: dict[bytes, bytes], key: bytes | None
) -> None:
    assert shown_key(headers) == key


def test_a_changed_file_counts_a_second_later(tmp_path: Path) -> None:
    file, clock, old, new = tmp_path / "keys.yaml", Clock(), new_key("old"), new_key("new")
    file.write_text(old.line)
    keys = Keys(file=file, clock=clock)

    def known() -> list[bool]:
        return [keys.ring().find(one.key.encode()) is not None for one in (old, new)]

    assert known() == [True, False]
    (tmp_path / "next").write_text(new.line)
    os.replace(tmp_path / "next", file)
    assert known() == [True, False]
    clock.now += 1.0
    assert known() == [False, True]


def test_a_file_that_breaks_or_goes_changes_nothing_until_it_is_mended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, clock, old, new = tmp_path / "keys.yaml", Clock(), new_key("old"), new_key("new")
    file.write_text(old.line)
    keys = Keys(file=file, clock=clock)
    for broken in ("- {name: x", None):
        file.unlink() if broken is None else file.write_text(broken)
        for _ in range(3):
            clock.now += 1.0
            assert keys.ring().find(old.key.encode()) is not None
    assert caplog.text.count("keys_unreadable") == 1, "said once, not each second"
    file.write_text(new.line)
    clock.now += 1.0
    assert (keys.ring().find(old.key.encode()), keys.ring().find(new.key.encode())) == (None, new.entry)


def test_a_file_that_cannot_be_read_at_start_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml cannot be read"):
        Keys(file=tmp_path / "none.yaml")


def test_the_single_key_the_text_and_the_file_are_valid_together(tmp_path: Path) -> None:
    one, two = new_key("one"), new_key("two")
    (tmp_path / "keys.yaml").write_text(one.line)
    ring = Keys(api_key="s3cret", text=two.line, file=tmp_path / "keys.yaml").ring()
    found = [ring.find(key) for key in (b"s3cret", one.key.encode(), two.key.encode(), b"x")]
    assert [entry and entry.name for entry in found] == ["default", "one", "two", None]
    with pytest.raises(ConfigError, match="has the name of one that is set elsewhere"):
        Keys(text=one.line, file=tmp_path / "keys.yaml")


async def test_no_answer_without_a_key(door: OpenDoor) -> None:
    one = await door(keys=Keys(api_key="s3cret"))
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "s3cret"}, {"x-api-key": "wrong"}):
        reply = await one.client.get("/v1/models", headers=headers)
        error = reply.json()["error"]
        assert (reply.status_code, error["type"], error["code"]) == (401, "authentication_error", "invalid_api_key")
        assert reply.headers["www-authenticate"] == "Bearer"
        assert "wrong" not in reply.text
    for headers in ({"authorization": "Bearer s3cret"}, {"x-api-key": "s3cret"}, {"api-key": "s3cret"}):
        assert (await one.client.get("/v1/models", headers=headers)).status_code == 200


async def test_an_empty_file_lets_nobody_in(door: OpenDoor, tmp_path: Path) -> None:
    (tmp_path / "keys.yaml").write_text("")
    one = await door(keys=Keys(file=tmp_path / "keys.yaml"))
    assert (await one.client.get("/v1/models", headers={"authorization": "Bearer x"})).status_code == 401


def test_the_command_prints_the_key_once_and_the_line_for_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "new", "alice", "--tokens-per-minute", "1000", "--model", "m", "--model", "n"]) == 0
    out, err = capsys.readouterr()
    (entry,) = read_keys(out, "stdout")
    assert (entry.name, entry.tokens_per_minute, entry.models) == ("alice", 1000, ("m", "n"))
    assert hash_of(err.splitlines()[0]) == entry.sha256
    assert main(["keys", "new", "al ice"]) == 2
    assert main(["keys", "new", "alice", "--tokens-per-day", "0"]) == 2
    assert "tokens-per-day" in capsys.readouterr().err
