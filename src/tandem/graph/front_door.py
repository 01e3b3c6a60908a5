"""What the Frontend service makes of its settings of keys and TLS, and how it hears of the workers' load and of what
keys spend in the other processes of the same door.

Imported when a Frontend starts: the rooms below are not needed before.
"""

import asyncio
import logging
from pathlib import Path

import msgspec

from tandem.core.load import LoadReport, load_subject
from tandem.frontend.guard.keyring import Keys
from tandem.frontend.guard.quotas import Unit
from tandem.frontend.guard.service import Guard
from tandem.frontend.tls import Tls, TlsFiles
from tandem.runtime.ports import Runtime
from tandem.settings import GuardSettings

log = logging.getLogger(__name__)

_TELL_INTERVAL_S = 0.1


class Spending(msgspec.Struct, frozen=True, array_like=True):
    """What keys have spent in one process of a front door since it last said so."""

    instance_id: str
    spent: dict[str, dict[Unit, int]]


def keys(settings: GuardSettings) -> Keys:
    """Who may come in. Raises `ConfigError`."""
    file = Path(settings.api_keys_file) if settings.api_keys_file else None
    return Keys(api_key=settings.api_key, text=settings.api_keys, file=file)


def tls(settings: GuardSettings) -> Tls | None:
    """How the way there is protected; None: not. Raises `ConfigError`."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    client_ca = Path(settings.tls_client_ca) if settings.tls_client_ca else None
    return Tls(TlsFiles(cert=Path(settings.tls_cert), key=Path(settings.tls_key), client_ca=client_ca))


async def hear_loads(guard: Guard, runtime: Runtime, component: str) -> None:
    """Tell the guard how busy the decode workers are, until cancelled."""
    decoder = msgspec.msgpack.Decoder(LoadReport)
    subject = load_subject(runtime.namespace, component)
    async with runtime.bus.subscribe(subject, max_pending=1024) as messages:
        async for message in messages:
            try:
                guard.heard(decoder.decode(message.payload))
            except msgspec.DecodeError as error:
                log.warning("frontend.bad_load_report subject=%s error=%s", message.subject, error)


async def share_spending(guard: Guard, runtime: Runtime, supervisor: str) -> None:
    """Keep the limits of keys across the processes of one front door, until cancelled.

    Each tells the others what was spent there ten times a second; so much may be overdrawn.
    """
    subject = f"{runtime.namespace}.spending.{supervisor}"
    decoder, encode = msgspec.msgpack.Decoder(Spending), msgspec.msgpack.Encoder().encode

    async def tell() -> None:
        while True:
            await asyncio.sleep(_TELL_INTERVAL_S)
            if spent := guard.spent():
                await runtime.bus.publish(subject, encode(Spending(runtime.instance_id, spent)))

    async with asyncio.TaskGroup() as group, runtime.bus.subscribe(subject, max_pending=1024) as messages:
        group.create_task(tell())
        async for message in messages:
            try:
                told = decoder.decode(message.payload)
            except msgspec.DecodeError as error:
                log.warning("frontend.bad_spending subject=%s error=%s", message.subject, error)
                continue
            if told.instance_id != runtime.instance_id:
                guard.heard_spent(told.spent)
