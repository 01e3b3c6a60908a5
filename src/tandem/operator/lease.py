"""One operator works, the others stand by: a Lease, and the refusal to work beside the upstream operator.

Two operators on the same groups would undo each other's work without end, so a live Lease of upstream's
(`rbg-controller`) stops this one, with a sentence.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Literal

from tandem.core.paths import at
from tandem.errors import ConfigError, LeaseLost
from tandem.operator.api import Api, ApiError, url_of
from tandem.operator.restarts import parse_time
from tandem.operator.types import Raw

logger = logging.getLogger(__name__)

LEASE: Final = "tandem-operator"
UPSTREAM_LEASE: Final = "rbg-controller"
DURATION_S: Final = 15
RENEW_S: Final = 5.0


def verdict(lease: Raw | None, identity: str, now: datetime) -> Literal["take", "renew", "wait"]:
    """What a replica may do with the lease as it stands."""
    if lease is None:
        return "take"
    holder = at(lease, "spec", "holderIdentity")
    if holder == identity:
        return "renew"
    return "wait" if holder and is_live(lease, now) else "take"


def is_live(lease: Raw, now: datetime) -> bool:
    """Whether its holder renewed it within its own duration."""
    renewed = at(lease, "spec", "renewTime")
    if not renewed or not at(lease, "spec", "holderIdentity"):
        return False
    duration_s = int(at(lease, "spec", "leaseDurationSeconds", default=DURATION_S))
    return (now - parse_time(renewed)).total_seconds() < duration_s


class Leadership:
    """Takes and keeps the lease.

    Args:
        namespace: where the lease lives.
        identity: unique to this process.
    """

    def __init__(
        self, api: Api, namespace: str, identity: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._api, self._namespace, self._identity, self._clock = api, namespace, identity, clock

    async def acquire(self) -> None:
        """Until we hold it."""
        told = False
        while not await self._try():
            if not told:
                logger.info("leader.standby identity=%s", self._identity)
                told = True
            await asyncio.sleep(RENEW_S / 2)
        logger.info("leader.elected identity=%s", self._identity)

    async def keep(self) -> None:
        """Renew for ever.

        Raises:
            LeaseLost: another replica has it, or it could not be renewed in its time. Stop working at once.
        """
        last = self._clock()
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                async with asyncio.timeout(RENEW_S):
                    held = await self._try()
            except (ApiError, TimeoutError) as error:
                if (self._clock() - last).total_seconds() > DURATION_S - RENEW_S:
                    raise LeaseLost(f"the lease {LEASE} could not be renewed: {error}") from error
                continue
            if not held:
                raise LeaseLost(f"another operator took the lease {LEASE}")
            last = self._clock()

    async def release(self) -> None:
        """Let another replica take over at once."""
        lease = await self._api.get("Lease", self._namespace, LEASE)
        if lease is not None and at(lease, "spec", "holderIdentity") == self._identity:
            await self._write(lease, {**lease["spec"], "holderIdentity": ""})

    async def _try(self) -> bool:
        now = self._clock()
        lease = await self._api.get("Lease", self._namespace, LEASE)
        match verdict(lease, self._identity, now):
            case "wait":
                return False
            case "take":
                moves = int(at(lease, "spec", "leaseTransitions", default=0)) + 1
                spec: Raw = {"acquireTime": _micro(now), "leaseTransitions": moves}
            case "renew":
                spec = dict((lease or {})["spec"])
        spec |= {"holderIdentity": self._identity, "leaseDurationSeconds": DURATION_S, "renewTime": _micro(now)}
        return await self._write(lease, spec)

    async def _write(self, lease: Raw | None, spec: Raw) -> bool:
        """With the version that was read, so that of two takers one is told no."""
        head = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
        metadata: Raw = {"name": LEASE, "namespace": self._namespace}
        try:
            if lease is None:
                await self._api.create(url_of("Lease", self._namespace), {**head, "metadata": metadata, "spec": spec})
            else:
                metadata["resourceVersion"] = lease["metadata"]["resourceVersion"]
                path = url_of("Lease", self._namespace, LEASE)
                await self._api.request("PUT", path, {**head, "metadata": metadata, "spec": spec})
        except ApiError as error:
            if error.status == 409:
                return False
            raise
        return True


async def refuse_beside_upstream(api: Api, now: datetime) -> None:
    """Look for a live upstream operator.

    Raises:
        ConfigError: there is one; the sentence says where and what to do.
    """
    params = {"fieldSelector": f"metadata.name={UPSTREAM_LEASE}"}
    try:
        found = await api.request("GET", url_of("Lease", None), params=params)
    except ApiError as error:
        if error.status != 403:
            raise
        logger.warning("upstream.unknown %s", error)
        return
    for lease in found.get("items") or []:
        if is_live(lease, now):
            namespace, holder = lease["metadata"]["namespace"], at(lease, "spec", "holderIdentity")
            raise ConfigError(
                f"another RoleBasedGroup operator is running: lease {UPSTREAM_LEASE} in namespace {namespace}, held by "
                f"{holder}. Scale it to 0 first (its workloads keep running and are taken over), then start this one."
            )


def _micro(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
