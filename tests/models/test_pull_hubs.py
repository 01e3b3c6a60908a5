"""Pulling from hubs through their own clients, pointed at loopback by the clients' own variables."""

import time
from pathlib import Path

import pytest
from tests.models.folders import HUB_FILES, holds, tandem_models
from tests.models.hubs import COMMIT, Handler, Hub, Trouble

from tandem.core.model_folder import MANIFEST
from tandem.models import crew
from tandem.models.manifest import read_manifest

FILES = HUB_FILES
SHARD = "model-00001-of-00002.safetensors"


SOURCES = ["hf://org/name", "modelscope://org/name"]


@pytest.mark.parametrize("source", SOURCES)
def test_a_model_arrives_whole_with_a_manifest(
    hub: Hub, source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tandem_models("pull", source, tmp_path / "m") == 0
    assert holds(tmp_path / "m", FILES)
    manifest = read_manifest(tmp_path / "m")
    assert manifest is not None
    assert manifest.source == source
    assert tandem_models("verify", tmp_path / "m") == 0
    sent = hub.sent_bytes
    assert tandem_models("pull", source, tmp_path / "m") == 0
    assert hub.sent_bytes == sent, "what is there is not fetched again"


@pytest.mark.parametrize("source", SOURCES)
def test_credentials_go_to_the_hub_alone_and_nowhere_else(
    hub: Hub, source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.token = "secret-token" if source.startswith("modelscope") else "hf_secret_token"
    hub.troubles.append(_once(lambda request: request.path.startswith("/signed/") and request.hang(0.0)))
    assert tandem_models("pull", source, tmp_path / "m") == 0
    assert hub.seen_tokens
    assert not [path for path, _ in hub.seen_tokens if path.startswith("/signed/")]
    told = "".join(capsys.readouterr())
    kept = "".join(path.read_text(errors="replace") for path in (tmp_path / "m").glob(".tandem*"))
    for secret in ("secret-token", "secret_token", "secret-signature"):
        assert secret not in told
        assert secret not in kept


def test_a_dry_run_says_what_would_come_and_writes_nothing(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tandem_models("pull", "hf://org/name", tmp_path / "m", "--dry-run") == 0
    assert f"hf://org/name to {tmp_path / 'm'}: 5 files, 3.0 MB; 3.0 MB to come" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()
    assert hub.sent_bytes == 0


def test_only_wanted_files_are_pulled(hub: Hub, tmp_path: Path) -> None:
    assert tandem_models("pull", "hf://org/name", tmp_path / "m", "--include", "*.json", "--exclude", "*index*") == 0
    assert holds(tmp_path / "m", {"config.json": FILES["config.json"]})


@pytest.mark.parametrize("source", SOURCES)
def test_a_hub_that_has_had_enough_is_given_the_time_it_asks_for(
    hub: Hub, source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.troubles.append(_once(lambda request: request.status(429, retry_after="1")))
    hub.troubles.append(
        _once(lambda request: request.path.startswith("/signed/") and request.status(429, retry_after="1"))
    )
    began = time.monotonic()
    assert tandem_models("pull", source, tmp_path / "m") == 0
    assert time.monotonic() - began >= 2.0
    assert "429; again in 1.0 s" in capsys.readouterr().err
    assert holds(tmp_path / "m", FILES)


def test_a_hub_that_asks_for_an_hour_is_not_waited_for(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.troubles.append(lambda request: request.status(429, retry_after="3600"))
    assert tandem_models("pull", "hf://org/name", tmp_path / "m") == 1
    assert "asks to wait 3600 s; run the same command again then" in capsys.readouterr().err


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(lambda request: request.status(503), id="500s"),
        pytest.param(lambda request: request.bytes(request.path[8:].partition("?")[0], stop_after=1000), id="cut"),
        pytest.param(lambda request: request.hang(1.0), id="hangs"),
        pytest.param(lambda request: request.status(403), id="signature run out"),
        pytest.param(lambda request: request.bytes(request.path[8:].partition("?")[0], status=200), id="no ranges"),
    ],
)
def test_a_connection_that_fails_now_and_then_costs_only_time(hub: Hub, trouble: Trouble, tmp_path: Path) -> None:
    left = [3]

    def sometimes(request: Handler) -> bool:
        if not request.path.startswith("/signed/model-00001") or not left[0]:
            return False
        left[0] -= 1
        return trouble(request)

    hub.troubles.append(sometimes)
    assert tandem_models("pull", "hf://org/name", tmp_path / "m", "--timeout-s", "0.3") == 0
    assert holds(tmp_path / "m", FILES)
    assert not left[0]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    "trouble", [lambda request: request.hang(1.2), lambda request: request.status(502)], ids=["hangs", "502"]
)
def test_a_list_that_does_not_come_is_asked_for_again(
    hub: Hub, source: str, trouble: Trouble, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.troubles.append(_once(trouble))
    assert tandem_models("pull", source, tmp_path / "m", "--timeout-s", "1") == 0
    assert "; again in" in capsys.readouterr().err
    assert holds(tmp_path / "m", FILES)


def test_an_empty_file_and_a_strange_name_arrive_too(hub: Hub, tmp_path: Path) -> None:
    hub.files |= {"empty.txt": b"", "a b/ü#1?%41+.txt": b"strange"}
    for source in SOURCES:
        folder = tmp_path / source[:2]
        assert tandem_models("pull", source, folder) == 0
        assert holds(folder, hub.files)


def test_a_hub_that_hangs_for_good_ends_in_one_sentence_and_keeps_what_came(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "TRIES", 2)
    hub.troubles.append(lambda request: request.path.startswith("/signed/model-00002") and request.hang(1.0))
    assert tandem_models("pull", "hf://org/name", tmp_path / "m", "--timeout-s", "0.2", "--connections", "2") == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == (
        "tandem models: model-00002-of-00002.safetensors: nothing came for a while, 2 times in a row; "
        "the same command goes on from here"
    )
    assert tandem_models("inspect", tmp_path / "m") == 1
    assert "is half a model" in capsys.readouterr().err
    hub.troubles.clear()
    sent = hub.sent_bytes
    assert tandem_models("pull", "hf://org/name", tmp_path / "m") == 0
    assert holds(tmp_path / "m", FILES)
    assert hub.sent_bytes - sent < 1.8e6, "the first shard was there"


@pytest.mark.parametrize(
    ("status", "source", "sentence"),
    [
        (401, "hf://org/name", "is not there, or is private: set HF_TOKEN"),
        (404, "hf://org/name", "is not there, or is private"),
        (403, "hf://org/name", "may not be read with these credentials"),
        (401, "modelscope://org/name", "set MODELSCOPE_API_TOKEN"),
        (404, "modelscope://org/name", "is not there"),
    ],
)
def test_no_rights_and_no_such_model_are_said_at_once(
    hub: Hub, status: int, source: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.troubles.append(lambda request: request.status(status, x_error_code="RepoNotFound" * (status != 403)))
    assert tandem_models("pull", source, tmp_path / "m") == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert sentence in told[0]
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../outside.bin", "leaves the folder"),
        ("/etc/passwd", "is no relative path"),
        ("a/../../b", "leaves the folder"),
        ("a\\b", "holds a character"),
        (".tandem-pull/plan.json", "is a name that Tandem keeps for itself"),
        ("CONFIG.json", "are one file on many disks"),
        ("config.json/x", "as the folder of"),
    ],
)
def test_names_that_leave_the_folder_or_clash_are_refused_before_a_byte(
    hub: Hub, name: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.files[name] = b"x"
    assert tandem_models("pull", "modelscope://org/name", tmp_path / "m") == 1
    assert why in capsys.readouterr().err
    assert not (tmp_path / "m").exists()
    assert hub.sent_bytes == 0


@pytest.mark.parametrize("source", SOURCES)
def test_a_manifest_that_somebody_uploaded_with_the_model_is_not_taken_for_a_file_of_it(
    hub: Hub, source: str, tmp_path: Path
) -> None:
    hub.files[MANIFEST] = b"of another folder"
    assert tandem_models("pull", source, tmp_path / "m") == 0
    assert holds(tmp_path / "m", FILES)
    assert tandem_models("verify", tmp_path / "m") == 0
    assert tandem_models("pull", source, tmp_path / "m") == 0


def test_a_link_inside_the_folder_does_not_lead_out(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "m" / "tokenizer").symlink_to(tmp_path / "elsewhere")
    assert tandem_models("pull", "hf://org/name", tmp_path / "m") == 1
    assert "tokenizer is a link" in capsys.readouterr().err
    assert not list((tmp_path / "elsewhere").iterdir())


def test_bytes_that_are_wrong_are_fetched_once_more_and_then_refused(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right = hub.files[SHARD]

    def lie(request: Handler) -> bool:
        if request.path.startswith("/signed/"):
            hub.files[SHARD] = bytes(len(right))
        else:
            hub.files[SHARD] = right
        return False

    hub.troubles.append(lie)
    assert tandem_models("pull", "hf://org/name", tmp_path / "m") == 1
    assert f"{SHARD} arrived wrong twice: its SHA-256 is" in capsys.readouterr().err
    assert not (tmp_path / "m" / SHARD).exists()
    hub.troubles.clear()
    hub.files[SHARD] = right
    assert tandem_models("pull", "hf://org/name", tmp_path / "m") == 0
    assert holds(tmp_path / "m", FILES)


def test_what_another_client_has_downloaded_is_checked_and_kept(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / SHARD).write_bytes(FILES[SHARD])
    (tmp_path / "m" / "config.json").write_bytes(b"x" * len(FILES["config.json"]))
    assert tandem_models("pull", "hf://org/name", tmp_path / "m") == 0
    assert holds(tmp_path / "m", FILES)
    assert hub.sent_bytes < 1.6e6


def test_a_new_revision_replaces_what_changed_and_removes_what_is_gone(hub: Hub, tmp_path: Path) -> None:
    assert tandem_models("pull", "modelscope://org/name", tmp_path / "m") == 0
    sent = hub.sent_bytes
    hub.files["config.json"] = b"{}"
    del hub.files["tokenizer/merges.txt"]
    assert tandem_models("pull", "modelscope://org/name", tmp_path / "m") == 0
    assert holds(tmp_path / "m", hub.files)
    assert hub.sent_bytes - sent == 2


def test_a_folder_that_holds_another_model_is_left_alone(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tandem_models("pull", "modelscope://org/name", tmp_path / "m") == 0
    assert tandem_models("pull", "hf://org/name", tmp_path / "m") == 2
    assert "holds modelscope://org/name; name another folder" in capsys.readouterr().err


def test_the_commit_is_remembered(hub: Hub, tmp_path: Path) -> None:
    assert tandem_models("pull", "hf://org/name@main", tmp_path / "m") == 0
    manifest = read_manifest(tmp_path / "m")
    assert manifest is not None
    assert (manifest.source, manifest.revision) == ("hf://org/name@main", COMMIT)
    assert any("/revision/main" in path for path in hub.requests)


def _once(trouble: Trouble) -> Trouble:
    """A trouble that happens to the first request that it applies to."""
    left = [1]

    def maybe(request: Handler) -> bool:
        if left[0] and trouble(request):
            left[0] = 0
            return True
        return False

    return maybe
