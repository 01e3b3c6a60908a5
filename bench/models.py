"""Pulling and pushing a model beside a plain parallel copy with the same client. `python -m bench.models`.

A real S3-compatible server on loopback, a model of random numbers, botocore on both sides with as many
connections and parts of the same size. The plain copy verifies nothing and remembers nothing; it ends, as ours
does, when its files are on disk. Server and pulled files lie in memory by default, so that no disk is measured.
Each run is a process: time counts from its start to its end, memory is its peak.
"""

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.stores import Gate, S3Server

CONNECTIONS = 8
PULL_PART = 16 << 20
PUSH_PART = 8 << 20
PIECE = 1 << 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--folder", type=Path, default=Path("/dev/shm"), help="of server and pulled files: twice the size"
    )
    parser.add_argument(
        "--kills", type=int, default=3, help="of a push and a pull each, for what moves twice; 0 for none"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plain", choices=("push", "pull"), help=argparse.SUPPRESS)
    parser.add_argument("place", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.plain:
        (plain_push if options.plain == "push" else plain_pull)(Path(options.place[0]), options.place[1])
        return 0
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as made:
        model = make_model(Path(made) / "model", int(options.gigabytes * 1e9))
        os.sync()
        tempfile.tempdir = str(options.folder)
        found = [one_round(model) for _ in range(options.rounds)]
        twice = moved_twice(model, int(options.gigabytes * 1e9), options.kills) if options.kills else {}
    if options.json:
        print(json.dumps({"rounds": found, "moved_twice_mb": twice}))
        return 0
    print(report(found, options.gigabytes))
    for way, megabytes in twice.items():
        print(f"{way}: {megabytes:.1f} MB moved twice for each of {options.kills} kills, HTTP's own bytes included")
    return 0


def one_round(model: Path) -> dict[str, dict[str, float]]:
    """Push and pull, plain and ours, each side with a server of its own."""
    tandem = [sys.executable, "-m", "tandem.cli.main", "models"]
    plain = [sys.executable, "-m", "bench.models", "--plain"]
    found = {}
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as made, serving():
        found["plain push"] = timed([*plain, "push", str(model), "plain"])
        found["plain pull"] = timed([*plain, "pull", f"{made}/plain", "plain"])
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as made, serving():
        found["our push"] = timed([*tandem, "push", str(model), "s3://models/ours", "--quiet"])
        found["our pull"] = timed([*tandem, "pull", "s3://models/ours", f"{made}/ours", "--quiet"])
    return found


def moved_twice(model: Path, total: int, kills: int) -> dict[str, float]:
    """Megabytes that a kill at a random moment makes a transfer move once more, by way of a gate that counts them."""
    tandem = [sys.executable, "-m", "tandem.cli.main", "models"]
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as made, serving():
        port = int(os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2])
        push = [*tandem, "push", str(model), "s3://models/killed", "--quiet"]
        pull = [*tandem, "pull", "s3://models/killed", f"{made}/killed", "--quiet"]
        return {
            way: (killed(command, port, direction, total, kills) - total) / kills / 1e6
            for way, command, direction in (("push", push, "up"), ("pull", pull, "down"))
        }


def killed(command: list[str], port: int, direction: str, total: int, kills: int) -> int:
    """Bytes that have moved until a transfer that is killed so many times is done."""
    moved = 0
    for number in range(kills + 1):
        gate = Gate(port)
        process = subprocess.Popen(
            command,
            env={**os.environ, "AWS_ENDPOINT_URL": gate.url},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        moment = total * (number + random.random()) / (kills + 1)
        while number < kills and moved + gate.passed[direction] < moment and process.poll() is None:
            time.sleep(0.002)
        if number < kills:
            process.kill()
        if process.wait() != (-9 if number < kills else 0):
            raise SystemExit(f"{command} ended with {process.returncode}")
        time.sleep(0.5)  # what it had given away arrives
        moved += gate.passed[direction]
        gate.close()
    return moved


@contextlib.contextmanager
def serving() -> Iterator[None]:
    """A fresh server, and the environment that leads to it."""
    server = S3Server()
    try:
        server.up()
        os.environ.update(server.environ)
        yield
    finally:
        server.down()


def timed(command: list[str]) -> dict[str, float]:
    """Seconds of a process, CPU seconds, and its peak of resident megabytes.

    The peak is read while it runs: what `wait4` tells holds the parent's memory at the moment of the fork.
    """
    began, peak_kb = time.monotonic(), 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    before = os.times()
    while process.poll() is None:
        with contextlib.suppress(OSError, IndexError):
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak_kb = max(peak_kb, int(status.partition("VmHWM:")[2].split()[0]))
        time.sleep(0.02)
    took, after = time.monotonic() - began, os.times()
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"s": took, "peak_mb": peak_kb / 1000, "cpu_s": cpu}


def make_model(folder: Path, total: int) -> Path:
    """Shards of a gigabyte of random numbers."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    for number, start in enumerate(range(0, total, 10**9)):
        with (folder / f"model-{number:05}.safetensors").open("wb") as file:
            left = min(10**9, total - start)
            while left:
                left -= file.write(os.urandom(min(left, 1 << 24)))
    return folder


def plain_push(folder: Path, prefix: str) -> None:
    """Parts of all files side by side."""
    client = _client()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        files = [path for path in sorted(folder.iterdir()) if path.is_file()]
        uploads = {
            p: client.create_multipart_upload(Bucket="models", Key=f"{prefix}/{p.name}")["UploadId"] for p in files
        }

        def send(path: Path, number: int) -> str:
            with path.open("rb") as file:
                body = os.pread(file.fileno(), PUSH_PART, (number - 1) * PUSH_PART)
            key = f"{prefix}/{path.name}"
            tag = client.upload_part(Bucket="models", Key=key, UploadId=uploads[path], PartNumber=number, Body=body)[
                "ETag"
            ]
            return str(tag)

        parts = {
            path: [pool.submit(send, path, n + 1) for n in range(max(1, -(-path.stat().st_size // PUSH_PART)))]
            for path in files
        }
        for path, sent in parts.items():
            ended = [{"PartNumber": n + 1, "ETag": each.result()} for n, each in enumerate(sent)]
            client.complete_multipart_upload(
                Bucket="models", Key=f"{prefix}/{path.name}", UploadId=uploads[path], MultipartUpload={"Parts": ended}
            )


def plain_pull(folder: Path, prefix: str) -> None:
    """Ranges of all objects side by side."""
    client = _client()
    folder.mkdir()
    found = client.list_objects_v2(Bucket="models", Prefix=f"{prefix}/")["Contents"]

    def fetch(key: str, descriptor: int, start: int, stop: int) -> None:
        body = client.get_object(Bucket="models", Key=key, Range=f"bytes={start}-{stop - 1}")["Body"]
        while piece := body.read(PIECE):
            start += os.pwrite(descriptor, piece, start)

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        tasks = []
        for each in found:
            descriptor = os.open(folder / Path(each["Key"]).name, os.O_RDWR | os.O_CREAT)
            for start in range(0, each["Size"], PULL_PART):
                tasks.append(pool.submit(fetch, each["Key"], descriptor, start, min(each["Size"], start + PULL_PART)))
        for task in tasks:
            task.result()
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _client() -> Any:
    from botocore.config import Config
    from botocore.session import Session

    config = Config(
        max_pool_connections=CONNECTIONS,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return Session().create_client("s3", region_name="us-east-1", config=config)


def report(found: list[dict[str, dict[str, float]]], gigabytes: float) -> str:
    """The table for docs/figures.md."""
    lines = ["| | plain | ours | ours / plain | our peak memory | our CPU |", "|---|---|---|---|---|---|"]
    for way in ("push", "pull"):
        plain, ours = (min(each[f"{who} {way}"]["s"] for each in found) for who in ("plain", "our"))
        peak = max(each[f"our {way}"]["peak_mb"] for each in found)
        cpu = min(each[f"our {way}"]["cpu_s"] for each in found)
        speeds = f"{gigabytes / plain * 1000:.0f} MB/s | {gigabytes / ours * 1000:.0f} MB/s | {plain / ours:.0%}"
        lines.append(f"| {way} | {speeds} | {peak:.0f} MB | {cpu:.1f} s |")
    lines += ["", f"files of {gigabytes:g} GB, best of {len(found)}; " + json.dumps(found)]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
