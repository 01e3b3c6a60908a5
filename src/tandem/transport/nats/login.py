"""How we log in to NATS: exactly one of creds file, nkey file, token, user and password, or nothing.

Secrets go from their files into a signature or the CONNECT line and nowhere else: no log, no message, no repr.
"""

import base64
import binascii
import importlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tandem.core.userinfo import taken_apart
from tandem.errors import ConfigError
from tandem.transport.settings import NatsSettings

_USER_PREFIX = bytes([20 << 3])
_SEED_BYTES = 32


@dataclass(frozen=True, slots=True)
class Login:
    """What one connection attempt needs."""

    servers: tuple[str, ...]
    """Addresses without user or password in them: safe to log."""
    options: dict[str, Any] = field(repr=False)
    """Arguments of nats-py's `connect`."""
    public_nkey: str | None = None


def login_of(settings: NatsSettings) -> Login:
    """Read the files that `settings` name. Raises `ConfigError`, naming files and never what is in them."""
    servers, user, password = _without_user(settings.servers)
    options: dict[str, Any] = {}
    public_nkey = None
    if settings.creds_file:
        jwt, seed = parse_creds(_read(settings.creds_file), settings.creds_file)
        options["user_jwt_cb"] = lambda: bytearray(jwt.encode())
        options["signature_cb"] = _signer(seed)
    elif settings.nkey_file:
        seed = decode_seed(_read(settings.nkey_file).strip(), settings.nkey_file)
        public_nkey = _public_nkey(seed)
        options["signature_cb"] = _signer(seed)
    elif settings.token:
        options["token"] = settings.token
    elif settings.user or user:
        options["user"] = settings.user or user
        options["password"] = settings.password or password or ""
        if not settings.user and password is None:  # nats://TOKEN@host
            options = {"token": user}
    if settings.ca_file or settings.cert_file or any(server.startswith("tls://") for server in servers):
        options["tls"] = _tls(settings)
    return Login(servers, options, public_nkey)


def parse_creds(text: str, name: str) -> tuple[str, bytes]:
    """The JWT and the raw seed of a `.creds` file. Raises `ConfigError`."""
    found: dict[str, str] = {}
    lines = [line.strip() for line in text.splitlines()]
    for at, line in enumerate(lines[:-1]):
        if line.startswith("-----BEGIN "):
            found[line.strip("- ").removeprefix("BEGIN ")] = lines[at + 1]
    try:
        return found["NATS USER JWT"], decode_seed(found["USER NKEY SEED"], name)
    except KeyError as error:
        raise ConfigError(f"{name} is no NATS credentials file: it has no {error.args[0]}") from None


def decode_seed(text: str, name: str) -> bytes:
    """The 32 bytes in an nkey user seed (`SU…`): base32 of two prefix bytes, the seed, a CRC. Raises `ConfigError`."""
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except binascii.Error:
        raw = b""
    body, check = raw[:-2], raw[-2:]
    right = len(body) == 2 + _SEED_BYTES and binascii.crc_hqx(body, 0) == int.from_bytes(check, "little")
    if not right or not text.startswith("SU"):
        raise ConfigError(f"{name} holds no nkey user seed")
    return body[2:]


def _signer(seed: bytes) -> Callable[[str], bytes]:
    key = _private_key(seed)
    return lambda nonce: base64.b64encode(key.sign(nonce.encode()))


def _public_nkey(seed: bytes) -> str:
    body = _USER_PREFIX + _private_key(seed).public_key().public_bytes_raw()
    checked = body + binascii.crc_hqx(body, 0).to_bytes(2, "little")
    return base64.b32encode(checked).decode().rstrip("=")


def _private_key(seed: bytes) -> Any:
    try:
        ed25519 = importlib.import_module("cryptography.hazmat.primitives.asymmetric.ed25519")
    except ImportError:
        raise ConfigError("logging in to NATS with an nkey or a creds file needs the package `cryptography`") from None
    return ed25519.Ed25519PrivateKey.from_private_bytes(seed)


def _without_user(urls: tuple[str, ...]) -> tuple[tuple[str, ...], str | None, str | None]:
    """Addresses stripped of `user:password@`, and the first such pair."""
    if not urls:
        raise ConfigError("no NATS server is given")
    user = password = None
    bare = []
    for url in urls:
        address = taken_apart(url if "://" in url else f"nats://{url}")
        if address.user and user is None:
            user, password = address.user, address.password
        parts = urlsplit(address.bare)
        bare.append(urlunsplit((parts.scheme, parts.netloc, "", "", "")))
    return tuple(bare), user, password


def _tls(settings: NatsSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"NATS: a certificate or key file cannot be used: {error}") from error
    return context


def _read(name: str) -> str:
    try:
        return Path(name).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigError(f"NATS: {name} cannot be read: {reason}") from None
