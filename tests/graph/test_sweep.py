"""What a zygote does when its supervisor was killed."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from tandem.graph.zygote import Fork, Preload, Sweep, marked, sweep

SLOW = """
import pathlib, time
class Slow:
    @staticmethod
    def preload():
        pathlib.Path(__file__).with_name("importing").touch()
        time.sleep(60)
"""


def test_a_dead_supervisors_files_go_and_its_successors_socket_stays(tmp_path: Path) -> None:
    entry, ours = tmp_path / "serve-1.json", tmp_path / "hub.sock"
    entry.write_text("{}")
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        first.bind(str(ours))
        files = marked([str(entry), str(ours), str(tmp_path / "never.sock")])
        entry.write_text("{'written': 'again'}")
        ours.unlink()
        second.bind(str(ours))  # somebody else hosts the planes before the zygote is done
        sweep(files)
        assert [path.name for path in tmp_path.iterdir()] == ["hub.sock"]
        sweep(marked([str(ours)]))
        assert list(tmp_path.iterdir()) == []


def test_a_zygote_whose_supervisor_goes_during_a_long_import_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "slow_engine.py").write_text(SLOW)
    info = tmp_path / "slow-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slow\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[tandem.engines]\nslow = slow_engine:Slow\n")
    mark = tmp_path / "serve-1.json"
    mark.write_text("{}")
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with its:
        zygote = subprocess.Popen(
            [sys.executable, "-m", "tandem.graph.zygote", str(its.fileno()), str(os.getpid())],
            pass_fds=[its.fileno()],
            env={**os.environ, "PYTHONPATH": path},
        )
    for command in (
        Sweep([str(mark)]),
        Preload("slow"),
        Fork(job=1, env={}, working_dir="/", title="waits", anew=False),
    ):
        ours.send(msgspec.msgpack.encode(command))
    until = time.monotonic() + 15
    while not (tmp_path / "importing").exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert (tmp_path / "importing").exists()
    ours.close()
    try:
        assert zygote.wait(5) == 0
    finally:
        zygote.kill()
        zygote.wait()
    assert not mark.exists()
