"""TLS for the front door: TLS 1.2 and later, certificates that are read anew when their files change.

A handshake looks whether they did, at most once a second, and uses the new ones; connections that are open go on.
"""

import logging
import os
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tandem.errors import ConfigError

_log = logging.getLogger(__name__)
_LOOK_EVERY_S: Final = 1.0
GOODBYE_S: Final = 1.0
"""How long a connection that we close waits for its client to agree: one that is idle does not hear of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files."""

    cert: Path
    """Our certificate, and those between it and its authority."""
    key: Path
    """Its private key, without a password."""
    client_ca: Path | None = None
    """Authorities of clients' certificates: with it, a client without a certificate does not get in."""


class Tls:
    """What a server socket needs. Raises `ConfigError` when the files cannot be used."""

    def __init__(self, files: TlsFiles, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._files = files
        self._clock = clock
        self._looked_at = clock()
        self._seen = self._glance()
        self._fresh = self._load()
        self.context = self._load()
        """For the listening socket: hands every handshake to the newest certificates."""
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        del name, context  # one certificate for every name
        now = self._clock()
        if now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            self._look()
        connection.context = self._fresh

    def _look(self) -> None:
        """Load the files if they changed. What cannot be used is said once, and changes nothing."""
        try:
            seen = self._glance()
            if seen == self._seen:
                return
            self._seen = seen
            self._fresh = self._load()
        except ConfigError as error:
            _log.error("frontend.certificate_unusable error=%s", error)
            return
        _log.info("frontend.certificate_read file=%s", self._files.cert)

    def _load(self) -> ssl.SSLContext:
        files = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            # A key with a password would be asked for on the terminal, and nobody sits there.
            context.load_cert_chain(files.cert, files.key, password=lambda: "")
            if files.client_ca is not None:
                context.load_verify_locations(files.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"TLS certificate {files.cert} with key {files.key} cannot be used: {error}", param="tls-cert"
            ) from error
        return context

    def _glance(self) -> tuple[tuple[int, ...], ...]:
        """What changes when one of the files does."""
        files = [file for file in (self._files.cert, self._files.key, self._files.client_ca) if file is not None]
        try:
            abouts = [os.stat(file) for file in files]
        except OSError as error:
            raise ConfigError(f"a TLS file cannot be read: {error}", param="tls-cert") from error
        return tuple((about.st_dev, about.st_ino, about.st_mtime_ns, about.st_size) for about in abouts)
