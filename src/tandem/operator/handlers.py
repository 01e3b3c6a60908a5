"""kopf's part: it watches our own kinds, logs in, and serves admission. Handlers only remember, wake or answer.

Event handlers, not change handlers: those would write kopf's annotations and a finalizer onto the groups, and a group
must go away also when no operator runs. Index handlers run before any event handler, so that adapters, profiles and
sets are known when the first group is looked at.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import kopf

from tandem.operator.access import Access
from tandem.operator.admission import group_faults, refusal, set_faults
from tandem.operator.labels import GROUP
from tandem.operator.types import Raw

_LOGIN_AGAIN = timedelta(minutes=5)
"""Tokens of service accounts and plugins are replaced before they expire."""
_PLURALS = {
    "rolebasedgroups": "RoleBasedGroup",
    "rolebasedgroupsets": "RoleBasedGroupSet",
    "rolebasedgroupscalingadapters": "RoleBasedGroupScalingAdapter",
    "clusterengineruntimeprofiles": "ClusterEngineRuntimeProfile",
}


class Listener(Protocol):
    """Who wants to know what kopf sees."""

    def learned(self, kind: str, item: Raw) -> None: ...
    def changed(self, kind: str, item: Raw, gone: bool) -> None: ...


def build_registry(listener: Listener | None, access: Access, *, admission: bool) -> kopf.OperatorRegistry:
    """The handlers: those that tell `listener`, if there is one; `admission` needs a server in the settings."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        token = await access.token()
        lasts = datetime.now(UTC) + _LOGIN_AGAIN if access.token_file or access.exec_spec else None
        return kopf.ConnectionInfo(
            server=access.server,
            ca_data=access.ca_pem,
            insecure=not access.verify,
            scheme="Bearer" if token else None,
            token=token,
            certificate_data=access.client_cert_pem,
            private_key_data=access.client_key_pem,
            expiration=lasts,
        )

    if listener is not None:
        for plural, kind in _PLURALS.items():
            _watch(registry, plural, kind, listener)

    checks = (("rolebasedgroups", group_faults), ("rolebasedgroupsets", set_faults))
    for plural, check in checks if admission else ():
        # With its version, as the chart's rules have it: kopf would take the newest one and know no other. The server
        # asks about objects of the other version in this one's form (matchPolicy Equivalent).
        @kopf.on.validate(
            *(GROUP, "v1alpha1", plural),
            registry=registry,
            id=plural,
            operations=["CREATE", "UPDATE"],
            ignore_failures=True,
        )
        async def validate(body: kopf.Body, old: Any = None, check: Any = check, **_: Any) -> None:
            if (body.get("metadata") or {}).get("deletionTimestamp") or _same_spec(old, body):
                return
            if faults := check(dict(body)):
                raise kopf.AdmissionError(refusal(faults), code=422)

    return registry


def _same_spec(old: Any, body: Any) -> bool:
    """Whether an update leaves the spec alone: who labels a group that slipped past must not have to mend it first."""
    return bool(old) and old.get("spec") == body.get("spec")


def _watch(registry: kopf.OperatorRegistry, plural: str, kind: str, listener: Listener) -> None:
    @kopf.index(GROUP, "v1alpha1", plural, registry=registry, id=f"{plural}-index")
    async def remember(body: kopf.Body, **_: Any) -> None:
        listener.learned(kind, _plain(body))

    @kopf.on.event(GROUP, "v1alpha1", plural, registry=registry, id=f"{plural}-event")
    async def wake(event: kopf.RawEvent, **_: Any) -> None:
        item: Any = event["object"]
        listener.changed(kind, dict(item), event["type"] == "DELETED")


def _plain(body: Any) -> Raw:
    return {key: body[key] for key in body}


def webhook_server(
    port: int, *, host: str | None, cert: str | None, key: str | None, authority: str | None
) -> kopf.WebhookServer:
    """kopf's admission server. With a host name it is registered by URL; else the chart names its Service.

    Args:
        host: our address as the API server sees it.
        authority: path of the PEM that the API server should trust for us.
    """
    return kopf.WebhookServer(port=port, host=host, certfile=cert, pkeyfile=key, cafile=authority)


def settings(*, webhook: Any = None, managed: str | None = None) -> kopf.OperatorSettings:
    """kopf's settings: no events of its own, and quick."""
    made = kopf.OperatorSettings()
    made.posting.enabled = False
    made.watching.server_timeout = 270
    if webhook is not None:
        made.admission.server = webhook
        made.admission.managed = managed
    return made
