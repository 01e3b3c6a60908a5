"""Buckets: a real S3-compatible server, the real client, and kills at any moment."""

import contextlib
import errno
import json
import os
import resource
import signal
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.models.folders import holds, model_files, started, tandem_models, written
from tests.stores import READ_ONLY, SECRET, Gate, S3Server

from tandem.core.model_folder import MANIFEST, PULLING, PUSHING
from tandem.models.manifest import read_manifest
from tandem.models.workspace import PartFile


@pytest.fixture
def target() -> str:
    return f"s3://models/{uuid.uuid4().hex}"


def objects(s3: S3Server, target: str) -> dict[str, int]:
    prefix = target.removeprefix("s3://models/") + "/"
    client = s3.client()
    found = client.list_objects_v2(Bucket="models", Prefix=prefix).get("Contents", [])
    client.close()
    return {each["Key"].removeprefix(prefix): each["Size"] for each in found}


def parts_there(s3: S3Server, target: str) -> int:
    """Bytes of whole parts that lie in open uploads."""
    prefix = target.removeprefix("s3://models/") + "/"
    client = s3.client()
    uploads = client.list_multipart_uploads(Bucket="models", Prefix=prefix).get("Uploads", [])
    found = 0
    for each in uploads:
        with contextlib.suppress(client.exceptions.NoSuchUpload):  # it has just been completed
            parts = client.list_parts(Bucket="models", Key=each["Key"], UploadId=each["UploadId"])
            found += sum(part["Size"] for part in parts.get("Parts", []))
    client.close()
    return found


def test_a_model_goes_to_a_bucket_and_comes_back(s3: S3Server, target: str, tmp_path: Path) -> None:
    files = model_files(20.0)
    model = written(files, tmp_path / "m")
    assert tandem_models("push", model, target) == 0
    assert set(objects(s3, target)) == {*files, MANIFEST}
    assert tandem_models("pull", target, tmp_path / "back") == 0
    assert holds(tmp_path / "back", files)
    assert tandem_models("verify", tmp_path / "back") == 0


def test_a_second_push_sends_nothing_and_a_changed_file_alone_is_sent(
    s3: S3Server, target: str, tmp_path: Path, sent: Callable[[], int]
) -> None:
    files = model_files(20.0)
    model = written(files, tmp_path / "m")
    assert tandem_models("push", model, target) == 0
    first = sent()
    assert first >= 20_000_000
    assert tandem_models("push", model, target) == 0
    assert sent() == first
    (model / "config.json").write_bytes(b"{" + files["config.json"][1:-1] + b" ")  # as long as before
    (model / "config.json").write_bytes(files["config.json"].replace(b"512", b"513"))
    assert tandem_models("push", model, target) == 0
    assert sent() - first < 10_000


def test_what_another_tool_has_uploaded_is_compared_and_not_sent_again(
    s3: S3Server, target: str, tmp_path: Path, sent: Callable[[], int]
) -> None:
    files = model_files(2.0)
    client = s3.client()
    for name, body in files.items():
        client.put_object(Bucket="models", Key=f"{target.removeprefix('s3://models/')}/{name}", Body=body)
    client.close()
    assert tandem_models("push", written(files, tmp_path / "m"), target) == 0
    assert sent() < 10_000
    assert tandem_models("pull", target, tmp_path / "back") == 0
    assert holds(tmp_path / "back", files)


def test_a_bucket_without_a_manifest_is_verified_by_what_its_etags_tell(
    s3: S3Server, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = model_files(2.0)
    client = s3.client()
    for name, body in files.items():
        client.put_object(Bucket="models", Key=f"{target.removeprefix('s3://models/')}/{name}", Body=body)
    client.close()
    assert tandem_models("pull", target, tmp_path / "m") == 0
    assert holds(tmp_path / "m", files)
    assert "without a hash" not in capsys.readouterr().err


@pytest.mark.process
@pytest.mark.timeout(60)
def test_half_a_push_is_taken_for_nothing_and_gone_on_with(
    s3: S3Server, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], sent: Callable[[], int]
) -> None:
    files = model_files(30.0, shards=2)
    model = written(files, tmp_path / "m")
    killed_when(Gate(s3.port, up=14_000_000), "push", model, target, "--connections", "2")
    there = objects(s3, target)
    assert PUSHING in there
    assert MANIFEST not in there
    assert tandem_models("pull", target, tmp_path / "back") == 1
    assert "is half a model: its push was not finished" in capsys.readouterr().err
    arrived = parts_there(s3, target) + sum(size for name, size in there.items() if name in files)
    assert tandem_models("push", model, target) == 0
    assert sent() <= sum(map(len, files.values())) - arrived + 20_000, "no part that had arrived was sent again"
    assert set(objects(s3, target)) == {*files, MANIFEST}
    assert parts_there(s3, target) == 0
    assert tandem_models("pull", target, tmp_path / "back") == 0
    assert holds(tmp_path / "back", files)


@pytest.mark.process
@pytest.mark.timeout(60)
@pytest.mark.parametrize("after", [0.1, 0.6, 0.95])
def test_a_pull_killed_at_any_byte_goes_on_from_there(
    s3: S3Server, target: str, tmp_path: Path, after: float, got: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    files = model_files(30.0, shards=2)
    total = sum(map(len, files.values()))
    assert tandem_models("push", written(files, tmp_path / "m"), target) == 0
    folder = tmp_path / "back"
    killed_when(Gate(s3.port, down=int(after * total)), "pull", target, folder, "--connections", "2")
    kept = on_disk(folder)
    assert kept >= after * total - 3_000_000, "what the gate let pass, less what was in buffers"
    assert read_manifest(folder) is None
    assert tandem_models("inspect", folder) == 1
    assert "is half a model: its pull was not finished" in capsys.readouterr().err
    assert tandem_models("ls", tmp_path) == 0
    assert tandem_models("pull", target, folder) == 0
    assert holds(folder, files)
    assert got() == total - kept, "only what had not been written"


def on_disk(folder: Path) -> int:
    """Bytes that a pull has counted as there."""
    work = folder / ".tandem-pull"
    found = 0
    try:
        for path in work.glob("*.parts"):
            data = path.read_bytes()
            found += sum(int.from_bytes(data[n : n + 8], "little") for n in range(0, len(data), 8))
        found += sum(json.loads(path.read_bytes())["size"] for path in work.glob("*.done"))
    except (OSError, ValueError):
        return on_disk(folder) if folder.exists() else 0
    if (folder / MANIFEST).exists():
        found = sum(path.stat().st_size for path in folder.rglob("*") if path.name != MANIFEST and path.is_file())
    return found


def killed_when(gate: Gate, *words: object, by: signal.Signals = signal.SIGKILL) -> tuple[int, str]:
    """Run `tandem models …` by way of a gate, and end it when the gate has shut. Returns its status and last words."""
    process = started(*words, AWS_ENDPOINT_URL=gate.url)
    try:
        assert gate.shut.wait(30), process.poll()
        time.sleep(0.1)  # what has passed is written
        process.send_signal(by)
        told = process.communicate()[1].decode()
    finally:
        process.kill()
        gate.close()
    return process.returncode, told


@pytest.mark.process
def test_ctrl_c_ends_at_once_and_keeps_what_has_arrived(s3: S3Server, target: str, tmp_path: Path) -> None:
    files = model_files(30.0)
    assert tandem_models("push", written(files, tmp_path / "m"), target) == 0
    gate = Gate(s3.port, down=5_000_000)
    status, told = killed_when(gate, "pull", target, tmp_path / "back", "--timeout-s", "1", by=signal.SIGINT)
    assert status == 130, told
    assert "Traceback" not in told
    assert on_disk(tmp_path / "back")


@pytest.mark.process
def test_two_pulls_into_one_folder_do_not_mix(s3: S3Server, target: str, tmp_path: Path) -> None:
    assert tandem_models("push", written(model_files(30.0), tmp_path / "m"), target) == 0
    processes = [started("pull", target, tmp_path / "back") for _ in range(2)]
    told = [process.communicate()[1].decode() for process in processes]
    statuses = sorted(process.returncode for process in processes)
    assert statuses in ([0, 0], [0, 1])
    assert statuses == [0, 0] or any("another `tandem models pull` is working on" in each for each in told)
    assert tandem_models("verify", tmp_path / "back") == 0


def test_a_disk_that_fills_ends_in_one_sentence_and_loses_nothing(
    s3: S3Server, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = model_files(20.0)
    assert tandem_models("push", written(files, tmp_path / "m"), target) == 0
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9_000_000, before[1]))
    try:
        assert tandem_models("pull", target, tmp_path / "back") == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"tandem models: {tmp_path / 'back'}")
    assert told.endswith(
        "cannot be written: File too large; what has arrived is kept, the same command goes on from here"
    )
    assert tandem_models("pull", target, tmp_path / "back") == 0
    assert holds(tmp_path / "back", files)


def test_no_thread_reads_on_after_a_pull_has_ended_in_an_error(
    s3: S3Server, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tandem_models("push", written(model_files(40.0, shards=1), tmp_path / "m"), target) == 0
    written_parts: set[int] = set()
    write = PartFile.write

    def full_after_a_while(self: PartFile, part: int, data: bytes) -> None:
        written_parts.add(part)
        if len(written_parts) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, part, data)

    monkeypatch.setattr(PartFile, "write", full_after_a_while)
    before = set(threading.enumerate())
    assert tandem_models("pull", target, tmp_path / "back") == 1
    assert set(threading.enumerate()) == before


@pytest.mark.parametrize("below", [".", "deeper/still"])
def test_a_file_where_a_folder_should_be_is_one_sentence(
    below: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, file = written(model_files(0.1), tmp_path / "m"), tmp_path / "file"
    file.write_text("mine")
    assert tandem_models("pull", model, file / below) == 2
    assert capsys.readouterr().err == f"tandem models: {file} is no folder\n"
    assert file.read_text() == "mine"


@pytest.mark.parametrize("name", ["lock", "plan.json"])
def test_a_link_in_the_workspace_is_refused_and_what_it_leads_to_is_left_alone(
    s3: S3Server, target: str, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tandem_models("push", written(model_files(0.1), tmp_path / "m"), target) == 0
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "back" / PULLING).mkdir(parents=True)
    (tmp_path / "back" / PULLING / name).symlink_to(tmp_path / "mine")
    assert tandem_models("pull", target, tmp_path / "back") == 1
    assert "is a link, which no pull makes" in capsys.readouterr().err
    assert (tmp_path / "mine").read_text() == "mine"


def test_too_little_space_is_said_before_a_byte(
    s3: S3Server, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tandem_models("push", written(model_files(1.0), tmp_path / "m"), target) == 0
    monkeypatch.setattr("tandem.models.pull.shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000_000})())
    assert tandem_models("pull", target, tmp_path / "back") == 1
    assert "0.00 GB are to come and the disk of" in capsys.readouterr().err
    assert not (tmp_path / "back").exists()


KEYS = {"OSS_ACCESS_KEY_ID": "key", "OSS_ACCESS_KEY_SECRET": SECRET}


@pytest.mark.parametrize(
    ("place", "environ", "sentence", "status"),
    [
        ("s3://no-such-bucket/m", {}, "there is no bucket 'no-such-bucket' at its endpoint", 1),
        ("s3://models/nothing-here", {}, "holds no files", 1),
        ("s3://models/m", {"AWS_SECRET_ACCESS_KEY": "wrong"}, "no right to its list (SignatureDoesNotMatch)", 1),
        ("s3://models/m", {"AWS_ACCESS_KEY_ID": "nobody"}, "no right to its list (InvalidAccessKeyId)", 1),
        ("s3://key:secret@models/m", {}, "takes no credentials: they come from the environment", 2),
        ("s3://UPPER/m", {}, "names no bucket", 2),
        ("s3://models/a/../b", {}, "is no path in a bucket", 2),
        ("s3://models/m", {"AWS_ENDPOINT_URL": "nowhere"}, "AWS_ENDPOINT_URL is no address: http://HOST[:PORT] or", 2),
        ("s3://models/m", {"AWS_ENDPOINT_URL_S3": "http://h:0x"}, "AWS_ENDPOINT_URL_S3 is no address", 2),
        (
            "s3://models/m",
            {"AWS_DEFAULT_REGION": "a b"},
            "cannot be reached as AWS_… and ~/.aws say: Provided region",
            2,
        ),
        ("s3://models/m", {"AWS_PROFILE": "nobody"}, "say: The config profile (nobody) could not be found", 2),
        ("s3://models/m", {"AWS_CONFIG_FILE": __file__}, "say: Unable to parse config file", 2),
        ("oss://models/m", {"OSS_ENDPOINT": "http://h:99999", **KEYS}, "OSS_ENDPOINT is no address", 2),
        ("oss://models/m", {"OSS_REGION": "a b", **KEYS}, "cannot be reached as OSS_… and ~/.ossutilconfig say:", 2),
        ("gs://models/m", {}, "is no place that models come from", 2),
        ("oss://models/m", {}, "OSS needs an endpoint: set OSS_ENDPOINT", 2),
        ("oss://models/m", {"OSS_ENDPOINT": "http://127.0.0.1:1"}, "OSS needs credentials: set OSS_ACCESS_KEY_ID", 2),
    ],
)
def test_bad_places_and_credentials_are_one_sentence(
    s3: S3Server,
    place: str,
    environ: dict[str, str],
    sentence: str,
    status: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert tandem_models("pull", place, tmp_path / "m") == status
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert sentence in told[0]
    assert SECRET not in told[0]


def test_who_may_only_read_cannot_push(
    s3: S3Server, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READ_ONLY[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READ_ONLY[1])
    assert tandem_models("push", written(model_files(0.1), tmp_path / "m"), target) == 1
    assert "no right to" in capsys.readouterr().err.splitlines()[-1]


def test_a_store_that_is_gone_is_said_after_some_tries(
    s3: S3Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr("tandem.models.crew._FIRST_PAUSE_S", 0.01)
    assert tandem_models("pull", "s3://models/m", tmp_path / "m") == 1
    assert "nobody answers at its endpoint, 6 times in a row" in capsys.readouterr().err


def test_oss_is_reached_by_its_own_variables_and_by_ossutils_file(
    s3: S3Server, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, target = model_files(1.0), target.replace("s3:", "oss:")
    key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    for name in s3.environ:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OSS_ENDPOINT", s3.url)
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", secret)
    assert tandem_models("push", written(files, tmp_path / "m"), target) == 0
    for name in ("OSS_ENDPOINT", "OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET"):
        monkeypatch.delenv(name)
    config = tmp_path / ".ossutilconfig"
    config.write_text(f"[Credentials]\nendpoint={s3.url}\naccessKeyID={key}\naccessKeySecret={secret}\n")
    assert tandem_models("pull", target, tmp_path / "back") == 0
    assert holds(tmp_path / "back", files)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Bytes that this process has put into a store."""
    from tandem.models.s3 import Bucket

    counts: list[int] = []
    put, part = Bucket.put, Bucket.put_part

    def counting_put(self: Bucket, path: str, body: bytes) -> str:
        counts.append(len(body))
        return put(self, path, body)

    def counting_part(self: Bucket, path: str, upload: str, number: int, body: bytes, sent: Callable[[], None]) -> str:
        counts.append(len(body))
        return part(self, path, upload, number, body, sent)

    monkeypatch.setattr(Bucket, "put", counting_put)
    monkeypatch.setattr(Bucket, "put_part", counting_part)
    return lambda: sum(counts)


@pytest.fixture
def got(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Bytes of ranges that this process has asked a store for."""
    from tandem.models.ports import RemoteFile
    from tandem.models.s3 import Bucket

    counts: list[int] = []
    read = Bucket.read

    def counting(self: Bucket, file: RemoteFile, start: int, stop: int) -> object:
        counts.append(stop - start)
        return read(self, file, start, stop)

    monkeypatch.setattr(Bucket, "read", counting)
    return lambda: sum(counts)
