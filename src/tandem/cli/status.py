"""`tandem status`: the processes of every `tandem serve` on this host, their roles, load and queue."""

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

from tandem.cli.table import fetch, no_system_port, system_urls, table

HEAD = ("PROCESS", "PHASE", "ROLE", "INSTANCE", "RUNNING", "WAITING", "KV BLOCKS", "QUEUE", "RESTARTS", "NOTE")


def run(arguments: Sequence[str], *, program: str) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog=program, allow_abbrev=False, description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--url", action="append", default=[], help="system port to ask (repeatable)")
    options = parser.parse_args(list(arguments))
    pages = [_page(url) for url in system_urls(options.url)]
    if options.json:
        print(json.dumps(pages, indent=2))
        return 0
    for page in pages:
        verdict = "ready" if page["ready"] else "not ready"
        print(f"{page['graph']}  namespace {page['namespace']}  pid {page['pid']}  {verdict}")
        for note in page["notes"]:
            print(f"  {note}")
        print(table(HEAD, list(rows(page))) + "\n")
    return 0


def _page(url: str) -> dict[str, Any]:
    try:
        page = json.loads(fetch(f"{url}/status") or b"")
    except ValueError:
        page = None
    if not isinstance(page, dict) or "processes" not in page:
        raise no_system_port(url)
    return page


def rows(page: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """One row per process; what a service does not say stays empty."""
    for process in page["processes"]:
        told: dict[str, Any] = {}
        for service in process["services"].values():
            told.update(service)
        blocks = f"{told['kv_blocks_used']}/{told['kv_blocks_total']}" if "kv_blocks_total" in told else ""
        yield tuple(
            str(each)
            for each in (
                process["name"],
                process["phase"],
                ",".join(told.get("roles", ())) or "+".join(process["services"]),
                told.get("instance", ""),
                told.get("running", told.get("requests", "")),
                told.get("waiting", ""),
                blocks,
                told.get("prefill_queue", ""),
                process["restarts"],
                process["note"],
            )
        )
