"""What a zygote clears away after its supervisor was killed."""

import socket
from pathlib import Path

from tandem.graph.zygote import marked, sweep


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
