"""The commands of `tandem deploy` that talk to a cluster: diff, apply, status, delete."""

import argparse
import asyncio
import json
import os
import secrets
import sys
from collections.abc import Callable, Sequence

from tandem.cli.asking import agreed
from tandem.cli.deploy_cluster import KubeCluster
from tandem.cli.deploy_show import Progress, status_json, status_text
from tandem.deploy.description import Description
from tandem.deploy.diagnosis import diagnose
from tandem.deploy.look import all_ready
from tandem.deploy.looking import look_at
from tandem.deploy.objects import Step, parse_version
from tandem.deploy.plan import summary, title
from tandem.deploy.ports import Refused
from tandem.deploy.service import Plan, carry_out, removal, survey, wait
from tandem.errors import ConfigError, RequestError, ServingError
from tandem.operator.access import find_access
from tandem.operator.api import Api

Steps = Callable[[int], list[Step]]


def run_live(wish: Description, options: argparse.Namespace, program: str, steps: Steps) -> int:
    """One command against the cluster of the kubeconfig."""
    access = find_access(os.environ, kubeconfig=options.kubeconfig, context=options.context)

    async def main() -> int:
        async with Api(access) as api:
            return await _Command(KubeCluster(api), wish, options, program, steps).run()

    try:
        return asyncio.run(main())
    except Refused as error:
        refused = RequestError(f"the cluster refuses: {error}")
        if options.verb == "diff":
            raise ConfigError(str(refused)) from error
        raise refused from error
    except ServingError as error:
        if options.verb == "diff":
            raise ConfigError(str(error)) from error
        raise


class _Command:
    def __init__(
        self, cluster: KubeCluster, wish: Description, options: argparse.Namespace, program: str, steps: Steps
    ) -> None:
        self._cluster, self._wish, self._options = cluster, wish, options
        self._program, self._steps = program, steps

    async def run(self) -> int:
        match self._options.verb:
            case "diff":
                return await self._diff()
            case "apply":
                return await self._apply()
            case "status":
                return await self._status()
        return await self._delete()

    def _tell(self, text: str) -> None:
        print(f"{self._program}: {text}", file=sys.stderr)

    async def _survey(self) -> Plan:
        given = self._options.kube_version
        minor = parse_version(given) if given else await self._cluster.minor()
        return await survey(
            self._cluster, self._wish, self._steps(minor), environ=os.environ, random_hex=secrets.token_hex
        )

    async def _diff(self) -> int:
        plan = await self._survey()
        if plan.faults:
            raise ConfigError("\n".join(plan.faults))
        for change in plan.changes:
            if change.diff:
                print("\n".join(change.diff))
        for secret in plan.secrets:
            if secret.make is not None:
                print(f"+ Secret {secret.name} (not shown), {secret.about}")
        self._tell_leftovers(plan)
        return int(plan.differs)

    async def _apply(self) -> int:
        plan = await self._survey()
        for line in summary(plan.changes, plan.secrets):
            print(line)
        self._tell_leftovers(plan)
        faults = list(plan.faults)
        foreign = [change.title for change in plan.changes if change.verb == "take over"]
        if foreign and not self._options.take_over:
            faults.append(f"made by somebody else: {', '.join(foreign)}; --take-over changes them all the same")
        if faults:
            raise RequestError("\n".join([*faults, "nothing was changed"]))
        sys.stdout.flush()
        await carry_out(self._cluster, plan, prune=self._options.prune, say=self._tell)
        return 0 if self._options.no_wait else await self._wait()

    def _tell_leftovers(self, plan: Plan) -> None:
        for item in plan.leftovers:
            fate = "--prune deletes it"
            if self._options.verb == "apply" and self._options.prune:
                fate = "it will be deleted"
            self._tell(f"{title(item)} is described no longer: {fate}")

    async def _wait(self) -> int:
        with Progress(sys.stdout) as progress:
            last = await wait(
                lambda: look_at(self._cluster, self._wish, like_the_guide=self._options.like_the_guide),
                progress.show,
                timeout_s=self._options.timeout,
            )
        if all_ready(last):
            name = "dynamo-service" if self._options.like_the_guide else self._wish.name
            print(f"ready; try it: kubectl -n {self._wish.namespace} port-forward svc/{name} 8000:8000")
            return 0
        faults = [str(finding) for finding in diagnose(last)] or ["nothing is wrong: it is still loading"]
        raise RequestError("\n".join([f"not ready after {self._options.timeout:g} s", *faults]))

    async def _status(self) -> int:
        look = await look_at(self._cluster, self._wish, like_the_guide=self._options.like_the_guide)
        findings = diagnose(look)
        if self._options.json:
            print(json.dumps(status_json(look, findings), indent=2))
        else:
            print(status_text(look, findings))
        return 0 if all_ready(look) else 1

    async def _delete(self) -> int:
        options = self._options
        steps = self._steps(await self._cluster.minor())
        found = await removal(self._cluster, self._wish, steps, volumes=options.volumes)
        self._list("- delete    ", found.objects)
        self._list("  keep      ", found.kept)
        self._list("! not ours  ", found.foreign)
        if not found.objects:
            print("nothing to delete")
            return 0
        if not options.yes and not agreed(f"delete {len(found.objects)} objects in {self._wish.namespace}? [y/N] "):
            raise ConfigError("nothing was deleted; --yes deletes without asking")
        for item in found.objects:
            await self._cluster.delete(item)
        print(f"{len(found.objects)} deleted")
        return 0

    def _list(self, mark: str, objects: Sequence[dict[str, object]]) -> None:
        for item in objects:
            print(f"{mark}{title(item)}")
