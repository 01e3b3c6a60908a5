"""Where the pods of a RoleBasedGroup meet without etcd or NATS: at a hub in one of them.

The operator mounts a file with every pod's stable name. The first pod of the first role whose pods have names hosts
the embedded planes; all others, reading the same file, join it there. So nobody elects, and when that pod is replaced
the next one of its name hosts an empty hub, which is an outage as every other.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tandem.errors import Unavailable
from tandem.transport.address import format_address, source_address
from tandem.transport.embedded import EmbeddedHub
from tandem.transport.embedded_host import HubServer

log = logging.getLogger(__name__)

_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class MeetingPlace:
    """The pod that hosts the group's hub."""

    host: str
    """Its stable name, which resolves as soon as it runs."""
    ours: bool
    """Whether this is that pod."""


@dataclass(frozen=True, slots=True)
class NoPlaceYet:
    """The role whose pod would host the hub has none; it is scaled to zero."""

    role: str


def read_place(file: str | None, environ: Mapping[str, str]) -> MeetingPlace | NoPlaceYet | None:
    """Where this process's group meets; None when it is in no group, or in one without named pods."""
    if not file:
        return None
    try:
        document = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    return meeting_place(document, environ.get("HOSTNAME", ""))


def meeting_place(document: Any, pod: str) -> MeetingPlace | NoPlaceYet | None:
    """From a discovery file's content.

    Args:
        pod: this pod's name.
    """
    try:
        group, roles = document["group"], document["roles"]
        for role in group["roles"]:
            if role not in roles:
                continue  # upstream's newer files describe no role whose pods have no names
            if not roles[role]["size"]:
                return NoPlaceYet(str(role))  # whether its pods have names shows when there is one
            named = [item["address"] for item in roles[role]["instances"] or () if "." in item["address"]]
            if named:
                first = str(named[0])
                if first.startswith(f"{role}-0."):  # upstream's v0.3 to v0.5 leave out the group
                    first = f"{group['name']}-{first}"
                return MeetingPlace(first, first.partition(".")[0] == pod)
    except (KeyError, TypeError):
        log.warning("group.file_unreadable: it has no group and roles in the operator's form")
    return None


class GroupSeat:
    """Our place at the group's hub: its host, or one of those who join it."""

    def __init__(self, place: MeetingPlace, port: int, token: str | None = None) -> None:
        self.address = format_address(place.host, port)
        self._host, self._ours, self._port = place.host, place.ours, port
        self._token = token
        self._server: HubServer | None = None
        self._waiting: asyncio.Task[None] | None = None

    async def take(self) -> bool:
        """Host the hub if this is its pod. Returns whether we do; a port that is taken is waited for."""
        if not self._ours:
            return False
        if await self._try():
            return True
        self._waiting = asyncio.create_task(self._until_free(), name="group hub")
        return False

    async def aclose(self) -> None:
        """Give the seat up. Safe to repeat."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        server, self._server = self._server, None
        if server is not None:
            await server.aclose()

    async def _try(self) -> bool:
        everywhere = "::" if ":" in await source_address(self._host) else "0.0.0.0"
        server = HubServer(EmbeddedHub(), format_address(everywhere, self._port), token=self._token)
        try:
            await server.start()
        except Unavailable as error:
            if self._waiting is None:  # once: it is tried again every second
                log.warning("group.hub_waits reason=%r", error.message)
            return False
        self._server = server
        return True

    async def _until_free(self) -> None:
        while True:
            await asyncio.sleep(_RETRY_S)
            if await self._try():
                log.info("group.hub_hosted address=%s", self.address)
                return
