"""`tandem models`: fetch a model, store it, list, verify and remove models, and see what fits which GPUs.

Exit status: 0 done; 1 it did not work, what has arrived is kept; 2 the command or the environment is wrong;
130 interrupted.
"""

import argparse
import fnmatch
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tandem.cli.asking import agreed
from tandem.cli.models_inspect import add_inspect
from tandem.cli.models_watch import size, watcher
from tandem.cli.table import table
from tandem.errors import ConfigError, ModelBroken
from tandem.models import pull, push
from tandem.models.crew import Crew
from tandem.models.manifest import Manifest
from tandem.models.places import open_source, open_store, parse_place
from tandem.models.shelf import models_root, removable, remove, shelf, shelved, verify

_SOURCES = "modelscope://ORG/NAME[@REVISION], hf://ORG/NAME[@REVISION], oss://BUCKET/PATH, s3://BUCKET/PATH, a folder"


def run(arguments: Sequence[str], *, program: str) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog=program, allow_abbrev=False, description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (_add_pull, _add_push, _add_ls, _add_verify, _add_rm, add_inspect):
        add(commands)
    options = parser.parse_args(list(arguments))
    status: int = options.run(options)
    return status


def _pull(options: argparse.Namespace) -> int:
    place = parse_place(options.source)
    folder = options.folder or models_root(os.environ, Path.home()) / place.model_name
    with watcher(quiet=options.quiet) as shown:
        source = open_source(place, timeout_s=options.timeout_s, connections=options.connections)
        try:
            listing = Crew(1, shown).patiently(source.name, source.list)
            if options.include or options.exclude:
                listing = listing.only(_wanted(options.include, options.exclude))
            prepared = pull.prepare(listing, folder)
            shown.note(_pull_plan(prepared))
            if options.dry_run:
                return 0
            if not prepared.whole:
                pull.check_space(prepared)
            manifest = pull.carry_out(prepared, source, shown, connections=options.connections)
        finally:
            source.close()
    print(f"{folder}: {_whole(manifest)}")
    return 0


def _push(options: argparse.Namespace) -> int:
    place = parse_place(options.target)
    with watcher(quiet=options.quiet) as shown:
        store = open_store(place, timeout_s=options.timeout_s, connections=options.connections)
        try:
            prepared = Crew(1, shown).patiently(store.name, lambda: push.prepare(options.folder, store))
            shown.note(_push_plan(prepared))
            if options.dry_run:
                return 0
            manifest = push.carry_out(prepared, store, shown, connections=options.connections)
        finally:
            store.close()
    print(f"{place.name}: {_whole(manifest)}")
    return 0


def _ls(options: argparse.Namespace) -> int:
    root = options.root or models_root(os.environ, Path.home())
    found = shelf(root)
    if options.json:
        keys = ("name", "state", "bytes", "files", "source")
        print(json.dumps([{"path": str(each.path), **{key: getattr(each, key) for key in keys}} for each in found]))
        return 0
    if not found:
        print(f"no models in {root}", file=sys.stderr)
        return 0
    rows = [(each.name, each.state, size(each.bytes), str(each.files), each.source) for each in found]
    print(table(("NAME", "STATE", "SIZE", "FILES", "SOURCE"), rows))
    return 0


def _verify(options: argparse.Namespace) -> int:
    folder = _existing(options.model)
    with watcher(quiet=options.quiet) as shown:
        manifest, faults = verify(folder, shown)
    for fault in faults:
        print(f"{folder}: {fault}")
    if faults:
        raise ModelBroken(
            f"{len(faults)} of {len(manifest.files)} files are not what was pulled: remove them, "
            f"and `tandem models pull {shlex.quote(manifest.source)} {shlex.quote(str(folder))}` again"
        )
    print(f"{folder}: {_whole(manifest)}")
    return 0


def _rm(options: argparse.Namespace) -> int:
    folder = _existing(options.model)
    files = removable(folder)
    total = sum(path.lstat().st_size for path in files)
    print(f"{folder}: {len(files)} files, {size(total)} will be removed", file=sys.stderr)
    if not options.yes:
        if not sys.stdin.isatty():
            raise ConfigError("nobody can be asked here: say --yes to remove it")
        if not agreed("remove it? [y/N] "):
            print("nothing was removed", file=sys.stderr)
            return 1
    left = remove(folder, files)
    if left:
        print(f"{folder} stays: {len(left)} files in it were not pulled, {left[0]} first", file=sys.stderr)
    return 0


def _existing(name: str) -> Path:
    """A model by its path, or by its name below the usual folder."""
    path = Path(name)
    if not path.is_dir() and "/" not in name:
        path = models_root(os.environ, Path.home()) / name
    if not path.is_dir():
        raise ConfigError(f"there is no model folder {name}; `tandem models ls` shows those in the usual place")
    if shelved(path) is None:
        raise ModelBroken(f"{path} shows no sign of a model: no manifest and no config.json")
    return path


def _pull_plan(prepared: pull.Prepared) -> str:
    listing = prepared.listing
    parts = [f"{listing.source} to {prepared.folder}: {len(listing.files)} files, {size(listing.bytes)}"]
    if prepared.kept:
        parts.append(f"{len(prepared.kept)} there already")
    if prepared.doubtful:
        parts.append(f"{len(prepared.doubtful)} there, to be checked")
    if prepared.there_bytes:
        parts.append(f"{size(prepared.there_bytes)} left by an earlier pull")
    bare = sum(1 for file in listing.files if not (file.sha256 or file.git_blob or file.md5))
    if bare and listing.source.partition("://")[0] in ("oss", "s3", "hf", "modelscope"):
        parts.append(f"{bare} without a hash, checked by size only")
    parts.append(f"{size(prepared.fetch_bytes)} to come")
    return "; ".join(parts)


def _push_plan(prepared: push.Prepared) -> str:
    parts = [f"{prepared.folder} to {prepared.target}: {len(prepared.files)} files, {size(prepared.bytes)}"]
    if prepared.same_size:
        parts.append(f"{len(prepared.same_size)} there in the same size, to be compared")
    if going_on := sum(1 for file in prepared.files if file.path in prepared.uploads):
        parts.append(f"{going_on} begun by an earlier push")
    return "; ".join(parts)


def _whole(manifest: Manifest) -> str:
    return f"whole and verified, {len(manifest.files)} files, {size(manifest.bytes)}"


def _wanted(include: Sequence[str], exclude: Sequence[str]) -> Callable[[str], bool]:
    def wanted(path: str) -> bool:
        taken = not include or any(fnmatch.fnmatchcase(path, pattern) for pattern in include)
        return taken and not any(fnmatch.fnmatchcase(path, pattern) for pattern in exclude)

    return wanted


def _add_pull(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("pull", allow_abbrev=False, help="fetch a model into a folder")
    parser.add_argument("source", metavar="SOURCE", help=_SOURCES)
    parser.add_argument(
        "folder",
        metavar="DIR",
        nargs="?",
        type=Path,
        help="default: NAME in $TANDEM_MODELS_DIR or ~/.cache/tandem/models",
    )
    parser.add_argument("--include", action="append", default=[], metavar="PATTERN", help="only such files; repeatable")
    parser.add_argument("--exclude", action="append", default=[], metavar="PATTERN", help="no such files; repeatable")
    _add_transfer(parser)
    parser.set_defaults(run=_pull)


def _add_push(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("push", allow_abbrev=False, help="store a model folder in a bucket")
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("target", metavar="TARGET", help="oss://BUCKET/PATH or s3://BUCKET/PATH")
    _add_transfer(parser)
    parser.set_defaults(run=_push)


def _add_ls(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("ls", allow_abbrev=False, help="the models on this machine")
    parser.add_argument("root", metavar="DIR", nargs="?", type=Path, help="default: the folder that pull fills")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_ls)


def _add_verify(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("verify", allow_abbrev=False, help="read a model and compare it with its manifest")
    parser.add_argument("model", metavar="MODEL", help="a folder, or a name that `tandem models ls` shows")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(run=_verify)


def _add_rm(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("rm", allow_abbrev=False, help="remove a model that was pulled")
    parser.add_argument("model", metavar="MODEL", help="a folder, or a name that `tandem models ls` shows")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(run=_rm)


def _add_transfer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and stop")
    parser.add_argument("--connections", type=_count, default=8, metavar="N", help="at once (default: %(default)s)")
    parser.add_argument(
        "--timeout-s",
        type=_seconds,
        default=30.0,
        metavar="S",
        help="without a byte, then again (default: %(default)g)",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 64:
        raise ConfigError(f"--connections {text} must be a number from 1 to 64")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 3600:
        raise ConfigError(f"--timeout-s {text} must be a number of seconds, above 0 and up to 3600")
    return value
