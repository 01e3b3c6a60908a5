"""`tandem demo`: the built-in model with prefill and decode apart, 2P1D, on this machine."""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tandem.errors import ConfigError
from tandem.frontend.port import take
from tandem.graph.demo import CONFIG, demo_model
from tandem.graph.launch import prepare
from tandem.settings import FrontendSettings
from tandem.settings.document import load_deployment
from tandem.settings.overrides import take_overrides

MEMORY_NEEDED = {"vllm": 2_500_000_000, "simulated": 500_000_000}
"""Bytes: three engines at about 0.5 GB beside what they share, and the front."""
DISK_NEEDED = 200_000_000
"""Bytes in the temporary folder: engines keep compiled code and sockets there."""


def run(arguments: Sequence[str], *, program: str) -> int:
    """The command."""
    overrides, rest = take_overrides(arguments)
    options = _parser(program).parse_args(rest)
    model = Path(options.model) if options.model else demo_model()
    if model is None or not (model / "config.json").is_file():
        raise ConfigError(f"no model at {model or 'models/tiny-qwen3'}: name its folder with --model")
    text = CONFIG.format(
        model=json.dumps(str(model.resolve())), port=options.port, host=options.host, engine=options.engine
    )
    launch = prepare(
        "tandem.graph.demo:Frontend",
        load_deployment(text, origin="demo", overrides=overrides, numbered=False),
        environ=dict(os.environ),
        working_dir=Path("."),
        verbosity=options.verbose - options.quiet,
    )
    front = launch.configured.of(FrontendSettings)
    refuse_if_unable(front.host, front.port, options.engine)
    for notice in launch.notices:
        print(f"{program}: {notice}", file=sys.stderr)
    from tandem.graph.supervisor import serve

    return serve(launch)


def refuse_if_unable(host: str, port: int, engine: str) -> None:
    """Say in one sentence what is missing, before anything starts.

    Raises:
        ConfigError: the port is busy, or memory or disk is short.
    """
    take(host, port).close()
    needed, found = MEMORY_NEEDED.get(engine, MEMORY_NEEDED["vllm"]), available_memory()
    if found < needed:
        raise ConfigError(f"the demo needs {needed / 1e9:.1f} GB of free memory; {found / 1e9:.1f} GB is free")
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < DISK_NEEDED:
        raise ConfigError(f"the demo needs {DISK_NEEDED / 1e6:.0f} MB free in {folder}; {free / 1e6:.0f} MB is free")


def available_memory(meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that can still be used: of the machine, or of our container if that is less."""
    fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    free = int(fields["MemAvailable"].split()[0]) * 1024
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        used = int((cgroup / "memory.current").read_text())
        cached = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines()).get(
            "inactive_file", "0"
        )
    except (OSError, ValueError):
        return free
    return free if limit == "max" else min(free, int(limit) - used + int(cached))


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        allow_abbrev=False,
        description="Serve the built-in model: two prefill workers, one decode worker. "
        "Any setting can be given as --Service.key=value.",
    )
    add = parser.add_argument
    add("--port", type=int, default=8000, help="port of the front door (default 8000)")
    add("--host", default="127.0.0.1", help="address of the front door (default 127.0.0.1)")
    add("--model", metavar="DIR", help="another model folder")
    add("--engine", default="vllm", help="vllm (default) or simulated")
    add("-v", "--verbose", action="count", default=0, help="log more")
    add("-q", "--quiet", action="count", default=0, help="log less")
    return parser
