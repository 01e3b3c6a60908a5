"""A hub, or a proxy before it, that answers a request for the list with something else."""

from pathlib import Path
from typing import Any

import pytest
from tests.models.folders import tandem_models
from tests.models.hubs import COMMIT, Hub

from tandem.models import crew

HF, MODELSCOPE = "hf://org/name", "modelscope://org/name"
VARIABLES = {HF: "HF_ENDPOINT", MODELSCOPE: "MODELSCOPE_ENDPOINT"}

HALF = "<ListBucketResult><Name>models</Name><Contents><Key>m/config.json</Key></Contents></ListBucketResult>"


def hugging_face(*siblings: Any, **more: Any) -> dict[str, Any]:
    return {"id": "org/name", "sha": COMMIT, "siblings": list(siblings), **more}


def modelscope(*files: Any) -> dict[str, Any]:
    return {"Code": 200, "Success": True, "Data": {"Files": list(files)}}


@pytest.mark.parametrize("source", VARIABLES)
@pytest.mark.parametrize(
    "text", ["<html>Sign in to the network</html>", "", "[1, 2]", "null", '"hello"', '{"id": 1', "\ufeff"]
)
def test_a_page_in_place_of_the_list_is_said_in_one_sentence(
    hub: Hub, source: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.troubles.append(lambda request: request.text(text))
    assert tandem_models("pull", source, tmp_path / "m") == 1
    assert capsys.readouterr().err.splitlines() == [
        f"tandem models: {source}: what came is no list of a model's files; "
        f"look at {VARIABLES[source]}, and at a proxy on the way"
    ]
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        pytest.param(HF, {}, id="nothing in it"),
        pytest.param(HF, {"id": "org/name", "sha": COMMIT}, id="no files in it"),
        pytest.param(HF, hugging_face("config.json"), id="files are text"),
        pytest.param(HF, hugging_face({"size": 3}), id="no name"),
        pytest.param(HF, hugging_face({"rfilename": 3, "size": 3}), id="a name that is a number"),
        pytest.param(HF, hugging_face({"rfilename": "config.json"}), id="no size"),
        pytest.param(HF, hugging_face({"rfilename": "config.json", "size": "many"}), id="a size in words"),
        pytest.param(HF, hugging_face({"rfilename": "config.json", "size": -3}), id="a negative size"),
        pytest.param(HF, hugging_face({"rfilename": "a", "size": 3, "lfs": "yes"}), id="lfs is text"),
        pytest.param(HF, hugging_face(lastModified="yesterday"), id="a date in words"),
        pytest.param(MODELSCOPE, {"Code": 200, "Data": {"Files": "abc"}}, id="files are one text"),
        pytest.param(MODELSCOPE, modelscope(1), id="files are numbers"),
        pytest.param(MODELSCOPE, modelscope({"Size": 3, "Sha256": "ab"}), id="without a name"),
        pytest.param(MODELSCOPE, modelscope({"Path": 3, "Size": 3}), id="its name is a number"),
        pytest.param(MODELSCOPE, modelscope({"Path": "config.json"}), id="neither size nor hash"),
        pytest.param(MODELSCOPE, modelscope({"Path": "config.json", "Size": "many"}), id="its size is words"),
        pytest.param(MODELSCOPE, modelscope({"Path": "config.json", "Size": -3}), id="its size is negative"),
        pytest.param(MODELSCOPE, modelscope({"Path": "a", "Size": 3, "Sha256": 5}), id="its hash is a number"),
    ],
)
def test_a_list_that_lacks_what_a_pull_needs_is_not_taken_for_a_model(
    hub: Hub, source: str, answer: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.troubles.append(lambda request: request.json(answer))
    assert tandem_models("pull", source, tmp_path / "m") == 1
    assert "what came is no list of a model's files" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("answer", [{}, {"Code": 10010205001, "Success": False, "Data": None}, modelscope()])
def test_a_modelscope_list_without_files_names_the_address_too(
    hub: Hub, answer: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.troubles.append(lambda request: request.json(answer))
    assert tandem_models("pull", MODELSCOPE, tmp_path / "m") == 1
    assert "lists no files; look at its page, and at MODELSCOPE_ENDPOINT" in capsys.readouterr().err


@pytest.mark.parametrize("source", VARIABLES)
@pytest.mark.parametrize("lead", ["", "ftp://127.0.0.1/x"], ids=["in a circle", "away from http"])
def test_a_redirect_that_leads_nowhere_is_not_followed_again(
    hub: Hub, source: str, lead: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.troubles.append(lambda request: request.status(302, location=lead or request.path))
    assert tandem_models("pull", source, tmp_path / "m") == 1
    (told,) = capsys.readouterr().err.splitlines()
    assert told == (
        f"tandem models: {source}: the list is redirected to nowhere; "
        f"look at {VARIABLES[source]}, and at a proxy on the way"
    )


@pytest.mark.parametrize("source", VARIABLES)
def test_nobody_at_the_address_is_tried_again_and_then_the_address_is_named(
    hub: Hub, source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "TRIES", 2)
    hub.close()
    assert tandem_models("pull", source, tmp_path / "m") == 1
    told = capsys.readouterr().err.splitlines()
    assert "; again in" in told[0]
    assert told[-1] == (
        f"tandem models: {source}: no connection to the hub (see {VARIABLES[source]}, and a proxy on the way), "
        "2 times in a row; the same command goes on from here"
    )


@pytest.mark.parametrize("address", ["ftp://127.0.0.1", "http://", "http://127.0.0.1:99999"])
@pytest.mark.parametrize("source", VARIABLES)
def test_a_variable_that_holds_no_address_ends_at_once(
    hub: Hub,
    source: str,
    address: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLES[source], address)
    assert tandem_models("pull", source, tmp_path / "m") == 2
    assert f"{VARIABLES[source]} is no address: http://HOST[:PORT] or https://HOST[:PORT]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("HF_TOKEN", "hf_–secret", "HF_TOKEN is no token: it holds a character that none has"),
        ("MODELSCOPE_API_TOKEN", "ms\nsecret", "MODELSCOPE_API_TOKEN is no token: it holds a character that none has"),
        (
            "ALL_PROXY",
            "nope://u:secret@h",
            "cannot be set up; look at HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE",
        ),
        (
            "SSL_CERT_FILE",
            "/secret/gone",
            "look at HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE: [Errno 2] No such",
        ),
    ],
)
@pytest.mark.parametrize("source", VARIABLES)
def test_an_environment_that_no_request_can_be_made_with_ends_at_once(
    hub: Hub,
    source: str,
    variable: str,
    value: str,
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, value)
    if variable.startswith("MODELSCOPE" if source == HF else "HF"):
        assert tandem_models("pull", source, tmp_path / "m", "--dry-run") == 0, "the other hub's"
        return
    assert tandem_models("pull", source, tmp_path / "m") == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert sentence in told
    assert "secret" not in told


@pytest.mark.parametrize("source", VARIABLES)
def test_a_file_that_is_redirected_away_from_the_web_is_not_asked_for_again(
    hub: Hub, source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.troubles.append(
        lambda request: (
            ("/resolve/" in request.path or "/repo?" in request.path)
            and request.status(302, location="ftp://127.0.0.1/x")
        )
    )
    assert tandem_models("pull", source, tmp_path / "m") == 1
    told = capsys.readouterr().err.splitlines()
    assert told[-1].endswith("is redirected to what is no web address")
    assert not any("; again in" in line for line in told)


@pytest.mark.parametrize("source", VARIABLES)
def test_a_list_that_breaks_off_is_asked_for_again(
    hub: Hub, source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = [1]

    def cut(request: Any) -> bool:
        if not left[0]:
            return False
        left[0] = 0
        request.send_response(200)
        request.send_header("content-length", "1000")
        request.end_headers()
        request.wfile.write(b'{"id"')
        request.close_connection = True
        return True

    hub.troubles.append(cut)
    assert tandem_models("pull", source, tmp_path / "m", "--dry-run") == 0
    assert "the connection broke" in capsys.readouterr().err


def test_a_modelscope_list_that_is_not_all_there_is_not_taken_for_all(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tandem_models("pull", MODELSCOPE, tmp_path / "m", "--dry-run") == 0
    monkeypatch.setattr("modelscope_hub._legacy_api.REPO_FILES_TRUNCATION_LIMIT", len(hub.files))
    assert tandem_models("pull", MODELSCOPE, tmp_path / "m") == 1
    assert "has more files in one folder than ModelScope lists" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_a_page_in_place_of_a_buckets_list_is_no_empty_bucket(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("ENDPOINT_URL", hub.url), ("ACCESS_KEY_ID", "key"), ("SECRET_ACCESS_KEY", "secret")):
        monkeypatch.setenv(f"AWS_{name}", value)
    for text in ("<html><body>Sign in to the network</body></html>", "", HALF):
        hub.troubles[:] = [lambda request, text=text: request.text(text)]  # type: ignore[misc]
        assert tandem_models("pull", "s3://models/m", tmp_path / "m") == 1
        assert "s3://models/m: what came is no list of a bucket; look at AWS_ENDPOINT_URL" in capsys.readouterr().err
