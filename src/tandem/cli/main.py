"""`tandem` and `dynamo`: find the command, run it, turn a `ConfigError` into exit status 2."""

import gc
import importlib
import os
import shutil
import sys
from collections.abc import Sequence

COMMANDS = {
    "serve": ("tandem.cli.serve", "start the services of a graph"),
    "demo": ("tandem.cli.demo", "serve the built-in model with prefill and decode apart"),
    "status": ("tandem.cli.status", "what runs on this host: instances, roles, load, queue"),
    "trace": ("tandem.cli.trace", "how one response was made"),
    "config": ("tandem.cli.config", "each setting of a graph and where it came from"),
    "ready": ("tandem.cli.ready", "whether what runs on this host could answer now: a readiness probe"),
    "keys": ("tandem.cli.keys", "make a key for a client of the front door"),
    "deploy": ("tandem.cli.deploy", "a service on Kubernetes: render, diff, apply, status, delete"),
    "rbg": ("tandem.cli.rbg", "a RoleBasedGroup's status and history, and the way back"),
    "models": ("tandem.cli.models", "fetch, store and verify models; see which GPUs hold them"),
    "operator": ("tandem.cli.operator", "run the RoleBasedGroup operator of a Kubernetes cluster"),
    "bench": ("tandem.cli.bench", "play a trace on simulated engines under routing policies"),
}


def main(arguments: Sequence[str] | None = None, *, program: str = "tandem") -> int:
    """Run a command line; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None and os.getpid() == 1:
        _start_under_an_init()
    if not words or words[0] in ("-h", "--help", "help"):
        print(_usage(program))
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"{program} {version('tandem-pd')}")
        return 0
    if words[0] not in COMMANDS:
        print(f"{program}: no command {words[0]!r}; choose from {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    from tandem.errors import ServingError

    gc.disable()  # importing makes many objects and hardly any garbage: looking for it takes a tenth of the time
    command = importlib.import_module(COMMANDS[words[0]][0])
    gc.freeze()
    gc.enable()
    try:
        status: int = command.run(words[1:], program=f"{program} {words[0]}")
    except ServingError as error:
        for line in str(error).splitlines():
            print(f"{program} {words[0]}: {line}", file=sys.stderr)
        return 2 if error.code == "config" else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
    return status


def dynamo_main() -> int:
    """The same under the name that the guide types."""
    return main(program="dynamo")


def _start_under_an_init() -> None:
    """The first process of a container inherits everybody's orphans: leave that to tini, where the image has it."""
    if init := shutil.which("tini"):
        os.execv(init, [init, "--", *sys.orig_argv])


def _usage(program: str) -> str:
    lines = [f"  {name:<8} {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join([f"usage: {program} COMMAND …", "", *lines, "", f"`{program} COMMAND --help` tells more."])


if __name__ == "__main__":
    sys.exit(main())
