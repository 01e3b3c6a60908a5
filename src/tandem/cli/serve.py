"""`tandem serve GRAPH`: start the services of a graph and keep them running."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tandem.errors import ConfigError
from tandem.graph.fit import check_fit
from tandem.graph.launch import Launch, prepare
from tandem.settings.document import Deployment, as_json, load_deployment
from tandem.settings.overrides import Override, take_overrides


def run(arguments: Sequence[str], *, program: str) -> int:
    """The command."""
    launch, options = read_launch(arguments, program=program, environ=dict(os.environ))
    for notice in (*launch.notices, *_fit_notices(launch, must_fit=not options.dry_run)):
        print(f"{program}: {notice}", file=sys.stderr)
    if options.dry_run:
        print(dry_run_text(launch))
        return 0
    from tandem.graph.supervisor import serve

    return serve(launch)


def _fit_notices(launch: Launch, *, must_fit: bool) -> list[str]:
    """What was found of GPUs and memory; a dry run may be made on another machine than the one that will serve."""
    try:
        return check_fit(launch)
    except ConfigError as error:
        if must_fit:
            raise
        return str(error).splitlines()


def read_launch(
    arguments: Sequence[str], *, program: str, environ: Mapping[str, str]
) -> tuple[Launch, argparse.Namespace]:
    """Command line and environment → everything that `serve` needs.

    Raises:
        ConfigError: every fault at once.
    """
    overrides, rest = take_overrides(arguments)
    options = _parser(program).parse_args(rest)
    working_dir = Path(options.working_dir or ".")
    if not working_dir.is_dir():
        raise ConfigError(f"--working-dir {working_dir} is no folder")
    deployment = _deployment(options, [*overrides, *_short_flags(options)], environ)
    service_name = options.service_name or environ.get("DYNAMO_SERVICE_NAME") or None
    launch = prepare(
        options.graph,
        deployment,
        environ=environ,
        working_dir=working_dir,
        only=service_name,
        door={"port": options.port or environ.get("DYNAMO_PORT"), "host": options.host or environ.get("DYNAMO_HOST")},
        depends=_depends(options.depends, environ),
        workers=options.workers,
        verbosity=options.verbose - options.quiet,
    )
    return launch, options


def dry_run_text(launch: Launch) -> str:
    """What `--dry-run` prints: the configuration, the environment, each service's arguments, the processes."""
    import json
    import shlex

    from tandem.settings.argv import as_args

    config = launch.deployment
    lines = ["Service Configuration:", json.dumps(config.document, indent=2), ""]
    lines += ["Environment Variable that would be set:", f"DYNAMO_SERVICE_CONFIG={as_json(config)}", ""]
    lines.append("Arguments by service:")
    for name in launch.graph.services:
        lines.append(f"{name}: {shlex.join(as_args(config.section(name)))}".rstrip(": "))
    lines += ["", "Processes:"]
    for process in launch.plan.processes:
        gpus = "" if process.gpus is None else f" CUDA_VISIBLE_DEVICES={','.join(process.gpus)}"
        lines.append(f"{process.name}: {' + '.join(process.services)} ({process.launch}){gpus}")
    return "\n".join(lines)


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        allow_abbrev=False,
        description="Start the services of a graph. Any setting can be given as --Service.key=value.",
    )
    add = parser.add_argument
    add("graph", metavar="GRAPH", help="module:Service or path/file.py:Service")
    add("-f", "--config-file", metavar="PATH", help="YAML with one section per service")
    add("--service-name", metavar="NAME", help="start only this service of the graph")
    add(
        "--depends",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="this dependency runs as namespace/component elsewhere and is not started here (repeatable)",
    )
    add("-p", "--port", type=int, help="port of the entry service's front door")
    add("--host", help="address of the entry service's front door")
    add("--workers", type=int, metavar="N", help="processes of the entry service; front doors share their port")
    add("--working-dir", metavar="DIR", help="folder to import the graph from; default: here")
    add("--join", metavar="PLACE", help="socket or host:port of the supervisor whose embedded planes to use")
    add("--system-port", type=int, metavar="PORT", help="port of /live, /ready, /metrics; default 9347")
    add("--dry-run", action="store_true", help="print what would be started, and exit")
    add("-v", "--verbose", action="count", default=0, help="log more")
    add("-q", "--quiet", action="count", default=0, help="log less")
    for old in ("--enable-system-app", "--use-default-health-checks"):
        add(old, action="store_true", help=argparse.SUPPRESS)
    add("--target", choices=("dynamo", "bento"), help=argparse.SUPPRESS)
    return parser


def _deployment(options: argparse.Namespace, overrides: Sequence[Override], environ: Mapping[str, str]) -> Deployment:
    text, origin = None, ""
    if options.config_file:
        path = Path(options.config_file)
        if not path.is_absolute() and not path.is_file() and options.working_dir:
            path = Path(options.working_dir) / path
        try:
            text, origin = path.read_text(encoding="utf-8"), options.config_file
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else f"it is not text ({error.reason})"
            raise ConfigError(f"cannot read {options.config_file}: {why}") from error
    return load_deployment(text, origin=origin, overrides=overrides, replaced_by=environ.get("DYN_DEPLOYMENT_CONFIG"))


def _short_flags(options: argparse.Namespace) -> list[Override]:
    """Flags that are settings: the same as their long form."""
    found = []
    if options.join:
        found.append(Override("Planes", ("hub-socket",), options.join, "--join"))
    if options.system_port is not None:
        found.append(Override("Supervisor", ("system-port",), options.system_port, "--system-port"))
    return found


def _depends(flags: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    pairs = [*environ.get("DYNAMO_SERVE_DEPENDS", "").split(), *flags]
    for pair in pairs:
        if "=" not in pair:
            raise ConfigError(f"--depends {pair}: write name=value")
    return dict(pair.split("=", 1) for pair in pairs)
