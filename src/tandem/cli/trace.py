"""`tandem trace REQUEST_ID`: how one response was made, stage by stage."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from tandem.cli.table import fetch, is_system_port, no_system_port, system_urls, table
from tandem.graph.system_pages import merge_stories


def run(arguments: Sequence[str], *, program: str) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog=program, allow_abbrev=False, description=__doc__)
    parser.add_argument("request_id", metavar="REQUEST_ID", help="the x-request-id or id of a response")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--url",
        action="append",
        default=[],
        help="system port to ask, such as HOST:9347; the front door keeps no traces (repeatable)",
    )
    options = parser.parse_args(list(arguments))
    path = f"/trace/{quote(options.request_id, safe='')}"
    pages = []
    for url in system_urls(options.url):
        if page := fetch(url.rstrip("/") + path):
            pages.append(page)
        elif not is_system_port(url):
            raise no_system_port(url)
    if not pages:
        print(f"{program}: nobody here remembers request {options.request_id}", file=sys.stderr)
        return 1
    story = merge_stories(pages)
    print(json.dumps(story, indent=2) if options.json else timeline(story))
    return 0


def timeline(story: dict[str, Any]) -> str:
    """The stages with milliseconds since the first one."""
    stages = story["stages"]
    began = stages[0]["at"] if stages else 0.0
    rows = [
        (
            f"{(stage['at'] - began) * 1000:.1f}",
            f"{stage['duration_s'] * 1000:.1f}" if stage.get("duration_s") is not None else "",
            stage["name"],
            stage.get("instance", ""),
            " ".join(f"{key}={value}" for key, value in stage.get("detail", {}).items() if value is not None),
        )
        for stage in stages
    ]
    return f"request {story['request_id']}\n" + table(("AT MS", "TOOK MS", "STAGE", "INSTANCE", "DETAIL"), rows)
