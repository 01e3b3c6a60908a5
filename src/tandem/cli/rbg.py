"""`tandem rbg`, and `kubectl rbg`: look at a RoleBasedGroup, its history, and go back in it."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version

from tandem.core.paths import at
from tandem.errors import ConfigError, RequestError, Unavailable
from tandem.operator import labels
from tandem.operator.access import Access, find_access
from tandem.operator.api import Api, ApiError, url_of
from tandem.operator.faults import InvalidGroup
from tandem.operator.parse import parse_spec
from tandem.operator.report import (
    diff_text,
    find_revision,
    history_text,
    revision_text,
    status_json,
    status_text,
)
from tandem.operator.revisions import rolled_back
from tandem.operator.types import GroupSpec, Raw

KIND = "RoleBasedGroup"


def run(arguments: Sequence[str], *, program: str) -> int:
    """The command. `rollout history|diff|undo`, as upstream's plugin has it, is the same as without `rollout`."""
    words = list(arguments)
    if words[:1] == ["rollout"]:
        words = words[1:]
    options = _parser(program).parse_args(words)
    access = find_access(os.environ, kubeconfig=options.kubeconfig, context=options.context)
    try:
        return asyncio.run(_run(access, options))
    except ApiError as error:
        if error.status == 0:
            raise Unavailable(f"{access.server} does not answer: {error}") from error
        raise RequestError(str(error)) from error


def kubectl_main() -> int:
    """The plugin `kubectl-rbg`."""
    from tandem.cli.main import main

    return main(["rbg", *sys.argv[1:]], program="kubectl")


async def _run(access: Access, options: argparse.Namespace) -> int:
    namespace = options.namespace or access.namespace
    async with Api(access) as api:
        group = await api.get(KIND, namespace, options.name)
        if group is None:
            raise ConfigError(f"RoleBasedGroup {options.name} not found in namespace {namespace}")
        match options.verb:
            case "status":
                print(status_json(group) if options.output == "json" else status_text(group, datetime.now(UTC)))
            case "history":
                past = await _revisions(api, group)
                one = options.revision
                print(history_text(past) if one is None else revision_text(find_revision(past, one)))
            case "diff":
                revision = find_revision(await _revisions(api, group), options.revision)
                print(diff_text(_spec(group), revision) or f"revision {revision['revision']} is what runs")
            case "undo":
                await _undo(api, group, options)
    return 0


async def _undo(api: Api, group: Raw, options: argparse.Namespace) -> None:
    revision = find_revision(await _revisions(api, group), options.revision, group["spec"])
    metadata, number = group["metadata"], revision["revision"]
    if options.dry_run:
        print(diff_text(_spec(group), revision) or f"revision {number} is what runs")
        return
    # The version that was read goes along: a change made since then is not lost but refused.
    head = {**metadata, "managedFields": None}
    body = {**group, "metadata": head, "spec": rolled_back(group["spec"], revision)}
    await api.request("PUT", url_of(KIND, metadata["namespace"], metadata["name"]), body)
    print(f"rbg {metadata['name']} rollback to revision {number} successfully")


async def _revisions(api: Api, group: Raw) -> list[Raw]:
    """Of this group, whichever operator wrote them."""
    metadata, found = group["metadata"], dict[str, Raw]()
    for key in (labels.NAME, labels.NEW_NAME):
        params = {"labelSelector": f"{key}={metadata['name']}"}
        page = await api.request("GET", url_of("ControllerRevision", metadata["namespace"]), params=params)
        for item in page["items"]:
            owners = at(item, "metadata", "ownerReferences", default=[])
            if any(owner.get("uid") == metadata["uid"] for owner in owners):
                found[item["metadata"]["name"]] = item
    return list(found.values())


def _spec(group: Raw) -> GroupSpec:
    try:
        return parse_spec(group.get("spec"))
    except InvalidGroup as error:
        raise ConfigError(str(error)) from error


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, allow_abbrev=False, description="Look at a RoleBasedGroup.")
    parser.add_argument("--version", action="version", version=f"{program} {version('tandem-pd')}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    texts = {
        "status": "how ready each role is, and what is in the way",
        "history": "the revisions of a group; with --revision the content of one",
        "diff": "what going back to a revision would change",
        "undo": "go back to a revision; replicas stay",
    }
    for verb, text in texts.items():
        one = verbs.add_parser(verb, help=text, description=text, allow_abbrev=False)
        one.add_argument("name", metavar="NAME", help="the RoleBasedGroup")
        one.add_argument("-n", "--namespace", metavar="NAME", help="default: the context's")
        one.add_argument("--kubeconfig", metavar="PATH", help="default: $KUBECONFIG, the pod's account, ~/.kube/config")
        one.add_argument("--context", metavar="NAME", help="context of the kubeconfig")
        if verb == "status":
            one.add_argument("-o", "--output", choices=("text", "json"), default="text")
            one.add_argument("--json", dest="output", action="store_const", const="json", help="the same as -o json")
        else:
            needed = verb == "diff"
            one.add_argument("--revision", type=int, metavar="N", required=needed, help="default: the one before")
        if verb == "undo":
            one.add_argument("--dry-run", action="store_true", help="print what would change, and change nothing")
    return parser
