"""What is decided without a server: names, places, credentials, Retry-After, hashes."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tandem.errors import ConfigError, ModelBroken, TransferFailed
from tandem.models.digests import Md5
from tandem.models.http_ranges import retry_after_s
from tandem.models.manifest import decode
from tandem.models.places import open_source, open_store, parse_place
from tandem.models.ports import Later
from tandem.models.s3 import Bucket
from tandem.models.s3_access import oss_access

KEYS = {"OSS_ACCESS_KEY_ID": "id", "OSS_ACCESS_KEY_SECRET": "very-secret"}


@pytest.mark.parametrize(
    ("environ", "endpoint", "region"),
    [
        ({"OSS_REGION": "cn-hangzhou"}, "https://s3.oss-cn-hangzhou.aliyuncs.com", "cn-hangzhou"),
        (
            {"OSS_ENDPOINT": "oss-cn-beijing-internal.aliyuncs.com"},
            "https://s3.oss-cn-beijing-internal.aliyuncs.com",
            "cn-beijing",
        ),
        (
            {"OSS_ENDPOINT": "https://s3.oss-eu-central-1.aliyuncs.com"},
            "https://s3.oss-eu-central-1.aliyuncs.com",
            "eu-central-1",
        ),
        ({"OSS_ENDPOINT": "http://127.0.0.1:9000"}, "http://127.0.0.1:9000", "oss"),
    ],
)
def test_oss_is_asked_where_it_speaks_s3(environ: dict[str, str], endpoint: str, region: str, tmp_path: Path) -> None:
    access = oss_access({**KEYS, **environ}, tmp_path)
    assert (access.endpoint, access.region) == (endpoint, region)
    assert "very-secret" not in repr(access)


def test_alibabas_general_variables_and_both_forms_of_ossutils_file_count(tmp_path: Path) -> None:
    general = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "a", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "b", "OSS_REGION": "cn-x"}
    assert oss_access({**general, "ALIBABA_CLOUD_SECURITY_TOKEN": "c"}, tmp_path).token == "c"
    first = (
        "[Credentials]\nlanguage=EN\nendpoint=oss-cn-a.aliyuncs.com\naccessKeyID=i\naccessKeySecret=s%1\nstsToken=t\n"
    )
    second = "[default]\nregion=cn-a\naccess_key_id=i\naccess_key_secret=s%1\nsts_token=t\n"
    for text in (first, second):
        (tmp_path / ".ossutilconfig").write_text(text)
        found = oss_access({}, tmp_path)
        assert (found.key_id, found.secret, found.token) == ("i", "s%1", "t")
        assert found.endpoint == "https://s3.oss-cn-a.aliyuncs.com"


def test_oss_buckets_are_named_in_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**KEYS, "OSS_REGION": "cn-hangzhou"}.items():
        monkeypatch.setenv(name, value)
    bucket = Bucket("oss://shelf/qwen", "shelf", "qwen", timeout_s=1.0, connections=1)
    url = bucket._client.generate_presigned_url("get_object", {"Bucket": "shelf", "Key": "qwen/config.json"})
    bucket.close()
    assert url.startswith("https://shelf.s3.oss-cn-hangzhou.aliyuncs.com/qwen/config.json?")


@pytest.mark.parametrize(
    ("text", "name", "model"),
    [
        ("hf://Qwen/Qwen3-32B", "hf://Qwen/Qwen3-32B", "Qwen3-32B"),
        ("modelscope://Qwen/Qwen3-32B@v1", "modelscope://Qwen/Qwen3-32B@v1", "Qwen3-32B"),
        ("oss://shelf/models/Qwen3-32B/", "oss://shelf/models/Qwen3-32B", "Qwen3-32B"),
        ("s3://shelf", "s3://shelf", "shelf"),
        ("/mnt/models/Qwen3-32B", "/mnt/models/Qwen3-32B", "Qwen3-32B"),
    ],
)
def test_places_are_read_as_they_are_written(text: str, name: str, model: str) -> None:
    place = parse_place(text)
    assert (place.name, place.model_name) == (name, model)


@pytest.mark.parametrize(
    "text", ["hf://", "hf://a/b/c", "hf://a/b@", "hf://../x", "oss://", "http://x", "s3://a b/c", ""]
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_place(text)


def test_a_hubs_name_without_the_hub_is_answered_with_both_hubs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hint = "Qwen/Qwen3-32B is no folder here; on a hub it is modelscope://Qwen/Qwen3-32B or hf://Qwen/Qwen3-32B"
    with pytest.raises(ConfigError, match=hint):
        open_source(parse_place("Qwen/Qwen3-32B"), timeout_s=1.0, connections=1)
    (tmp_path / "Qwen" / "Qwen3-32B").mkdir(parents=True)
    assert open_source(parse_place("Qwen/Qwen3-32B"), timeout_s=1.0, connections=1).name.endswith("/Qwen/Qwen3-32B")
    for path in ("/Qwen/Qwen3-32B", "a/b/c"):
        assert open_source(parse_place(path), timeout_s=1.0, connections=1).name.endswith(path), "a path, so a folder"


@pytest.mark.parametrize("text", ["hf://a/b", "/tmp/x", "s3://whole-bucket"])
def test_a_model_is_pushed_to_a_path_of_a_bucket_only(text: str) -> None:
    with pytest.raises(ConfigError, match=r"oss://BUCKET/PATH|path of its own"):
        open_store(parse_place(text), timeout_s=1.0, connections=1)


def test_retry_after_is_a_number_or_a_date() -> None:
    noon = datetime(2026, 11, 30, 12, tzinfo=UTC)
    assert retry_after_s("7") == 7.0
    assert retry_after_s("Mon, 30 Nov 2026 12:00:30 GMT", lambda: noon) == 30.0
    assert retry_after_s("soon") is None
    assert retry_after_s(None) is None


def test_etags_of_parts_are_reckoned_whatever_the_pieces() -> None:
    data = bytes(range(256)) * 100
    parts = [data[at : at + 10_000] for at in range(0, len(data), 10_000)]
    joined = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    for piece in (1, 999, 10_000, 10_001, len(data)):
        digest = Md5(10_000)
        for at in range(0, len(data), piece):
            digest.update(data[at : at + piece])
        assert digest.value() == f"{joined}-{len(parts)}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"{", "is no manifest"),
        (b'{"format": 2, "source": "", "made_at": "", "files": []}', "made by a newer Tandem"),
        (b'{"source": "", "made_at": "", "files": [{"path": "../x", "size": 1, "sha256": ""}]}', "leaves the folder"),
    ],
)
def test_manifests_of_strangers_are_not_believed(text: bytes, why: str) -> None:
    with pytest.raises(ModelBroken, match=why):
        decode(text, where="x")


@pytest.mark.parametrize(
    ("status", "code", "headers", "kind", "said"),
    [
        (503, "SlowDown", {"retry-after": "9"}, Later, "the store answered SlowDown"),
        (429, "", {}, Later, "the store answered 429"),
        (500, "InternalError", {}, Later, "the store answered InternalError"),
        (403, "AccessDenied", {}, TransferFailed, "no right to config.json"),
        (412, "PreconditionFailed", {}, TransferFailed, "config.json has changed while it was read"),
        (404, "NoSuchUpload", {}, TransferFailed, "the upload of config.json is gone; run the same command again"),
        (501, "NotImplemented", {}, TransferFailed, "config.json: the store answered NotImplemented"),
    ],
)
def test_what_a_store_answers_is_waited_for_or_said(
    status: int,
    code: str,
    headers: dict[str, str],
    kind: type[Exception],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {**KEYS, "OSS_REGION": "cn-hangzhou"}.items():
        monkeypatch.setenv(name, value)
    bucket = Bucket("oss://shelf/qwen", "shelf", "qwen", timeout_s=1.0, connections=1)
    about = {"HTTPStatusCode": status, "HTTPHeaders": headers}
    error = bucket._meaning({"Error": {"Code": code}, "ResponseMetadata": about}, "config.json")
    bucket.close()
    assert type(error) is kind
    assert said in str(error)
    assert getattr(error, "retry_after_s", None) == (9.0 if headers else None)
