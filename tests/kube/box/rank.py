"""One rank of a simulated multi-node engine: what every such engine does before it computes anything.

Rank 0 listens, the others call it at the address that they were given, and all are told when everybody is there. Each
also finds itself and its peers in the discovery file, by names that resolve to where they really are.
"""

import json
import os
import socket
import subprocess
import time
from pathlib import Path

import yaml

PORT = 29500


def main() -> None:
    rank, size = int(os.environ["LWS_WORKER_INDEX"]), int(os.environ["LWS_GROUP_SIZE"])
    leader, me = os.environ["LWS_LEADER_ADDRESS"], os.environ["HOSTNAME"]
    listed = yaml.safe_load(Path("/etc/rbg/config.yaml").read_text())["roles"]["engine"]["instances"]
    [group] = [item for item in listed if me.startswith(item["address"].partition(".")[0])]
    names = [group["address"], *group["workers"]]
    assert leader.startswith(names[0]), (leader, names)
    found = socket.gethostbyname(names[rank])
    assert found in own_addresses(), (names[rank], found)
    told = gathered(size) if rank == 0 else joined(leader, rank)
    print(json.dumps({"rank": rank, "size": size, "ranks": told, "names": names}), flush=True)
    Path("/tmp/ready").touch()
    time.sleep(3600)


def gathered(size: int) -> list[int]:
    """Wait for all others; tell them who is there."""
    calls: dict[int, socket.socket] = {}
    with socket.create_server(("", PORT)) as server:
        while len(calls) < size - 1:
            call, _ = server.accept()
            calls[int(call.recv(16))] = call
    everybody = [0, *sorted(calls)]
    for call in calls.values():
        call.sendall(json.dumps(everybody).encode())
    return everybody


def joined(leader: str, rank: int) -> list[int]:
    """Call rank 0 until it listens; wait for its word."""
    while True:
        try:
            with socket.create_connection((leader, PORT), timeout=60) as call:
                call.sendall(str(rank).encode())
                return list(json.loads(call.recv(4096)))
        except OSError:
            time.sleep(0.2)


def own_addresses() -> list[str]:
    shown = subprocess.run(["ip", "-j", "addr"], capture_output=True, check=True).stdout
    return [info["local"] for link in json.loads(shown) for info in link["addr_info"]]


if __name__ == "__main__":
    main()
