"""TLS at the front door: what is spoken, who gets in, and certificates that change under open connections."""

import asyncio
import datetime
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tandem.errors import ConfigError
from tandem.frontend.port import take
from tandem.frontend.server import DoorServer
from tandem.frontend.tls import Tls, TlsFiles
from tandem.settings import GuardSettings

_LOOPBACK = x509.IPAddress(ip_address("127.0.0.1"))
_DAY = datetime.timedelta(days=1)


class Authority:
    """Signs certificates."""

    def __init__(self, folder: Path, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._cert = self._signed(self._name, self._key, authority=True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._cert.public_bytes(serialization.Encoding.PEM))

    def issue(self, cert: Path, key: Path, name: str) -> None:
        """A certificate of `name` and its key, in files that are swapped in as a certificate manager does."""
        own = ec.generate_private_key(ec.SECP256R1())
        signed = self._signed(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), own, authority=False)
        text = own.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        for file, content in ((key, text), (cert, signed.public_bytes(serialization.Encoding.PEM))):
            fresh = file.with_suffix(".new")
            fresh.write_bytes(content)
            os.replace(fresh, file)

    def _signed(self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *, authority: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        made = x509.CertificateBuilder().subject_name(name).issuer_name(self._name).public_key(key.public_key())
        made = made.serial_number(x509.random_serial_number())
        made = made.not_valid_before(now - _DAY).not_valid_after(now + _DAY)
        made = made.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        made = made.add_extension(x509.SubjectAlternativeName([_LOOPBACK]), critical=False)
        return made.sign(self._key, hashes.SHA256())


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": scope["scheme"].encode()})


@dataclass
class Served:
    server: DoorServer
    port: int
    cert: Path
    key: Path
    authority: Authority
    now: list[float]

    def client(self, authority: Authority | None = None) -> ssl.SSLContext:
        """A client that trusts the server's authority."""
        return ssl.create_default_context(cafile=str((authority or self.authority).file))


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    servers: list[DoorServer] = []

    async def make(client_ca: Path | None = None, *, shared: bool = False, drain_timeout_s: float = 1) -> Served:
        authority, now = Authority(tmp_path, "authority"), [0.0]
        cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"
        authority.issue(cert, key, "first")
        tls = Tls(TlsFiles(cert=cert, key=key, client_ca=client_ca), clock=lambda: now[0])
        sock = take("127.0.0.1", 0) if shared else None
        server = DoorServer(hello, host="127.0.0.1", port=0, drain_timeout_s=drain_timeout_s, tls=tls, shared=sock)
        await server.open()
        servers.append(server)
        return Served(server, server.port, cert, key, authority, now)

    yield make
    for server in servers:
        await server.aclose()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        await reader.readuntil(b"\r\n\r\n")
        return await reader.readexactly(5)


def shown(writer: asyncio.StreamWriter) -> str:
    """Whose certificate the server showed."""
    subject: Any = writer.get_extra_info("peercert")["subject"]
    return str(dict(entry[0] for entry in subject)["commonName"])


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")
@pytest.mark.parametrize("shared", [False, True])
async def test_the_door_speaks_tls_and_nothing_older_than_1_2(serve: Serve, shared: bool) -> None:
    one = await serve(shared=shared)
    reader, writer = await asyncio.open_connection("127.0.0.1", one.port, ssl=one.client())
    assert await ask(reader, writer) == b"https"
    assert writer.get_extra_info("ssl_object").version() in ("TLSv1.2", "TLSv1.3")
    writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        assert not (await reader.read(1000)).startswith(b"HTTP/1.1 2"), "plain text was answered"
    writer.close()
    old = one.client()
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", one.port, ssl=old)


@pytest.mark.parametrize("shared", [False, True])
async def test_a_client_that_does_not_say_goodbye_does_not_hold_a_stop(serve: Serve, shared: bool) -> None:
    one = await serve(shared=shared, drain_timeout_s=10)

    def asked() -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", one.port), timeout=5)
        client = one.client().wrap_socket(plain, server_hostname="127.0.0.1")
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        return client

    with await asyncio.to_thread(asked):  # and reads nothing more, like every pool of connections
        async with asyncio.timeout(5):
            await one.server.aclose()


async def test_a_new_certificate_is_shown_and_no_connection_drops(serve: Serve) -> None:
    one = await serve()
    before = await asyncio.open_connection("127.0.0.1", one.port, ssl=one.client())
    assert (await ask(*before), shown(before[1])) == (b"https", "first")
    one.authority.issue(one.cert, one.key, "second")
    one.now[0] += 2
    after = await asyncio.open_connection("127.0.0.1", one.port, ssl=one.client())
    assert (await ask(*after), shown(after[1])) == (b"https", "second")
    assert await ask(*before) == b"https"
    for _, writer in (before, after):
        writer.close()


async def test_a_certificate_that_cannot_be_used_changes_nothing(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    one = await serve()
    one.cert.write_text("no certificate")
    for _ in range(3):
        one.now[0] += 2
        reader, writer = await asyncio.open_connection("127.0.0.1", one.port, ssl=one.client())
        assert (await ask(reader, writer), shown(writer)) == (b"https", "first")
        writer.close()
    assert caplog.text.count("certificate_unusable") == 1
    one.authority.issue(one.cert, one.key, "mended")
    one.now[0] += 2
    reader, writer = await asyncio.open_connection("127.0.0.1", one.port, ssl=one.client())
    assert shown(writer) == "mended"
    writer.close()


async def test_only_clients_with_a_certificate_get_in_and_authorities_can_change(serve: Serve, tmp_path: Path) -> None:
    clients, others, trusted = Authority(tmp_path, "clients"), Authority(tmp_path, "others"), tmp_path / "trusted.pem"
    trusted.write_bytes(clients.file.read_bytes())
    one = await serve(client_ca=trusted)

    async def gets_in(authority: Authority | None) -> bool:
        context = one.client()
        if authority is not None:
            authority.issue(tmp_path / "me.crt", tmp_path / "me.key", "me")
            context.load_cert_chain(tmp_path / "me.crt", tmp_path / "me.key")
        writer: asyncio.StreamWriter | None = None
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", one.port, ssl=context)
            return await ask(reader, writer) == b"https"
        except (ssl.SSLError, ConnectionError, asyncio.IncompleteReadError):
            return False
        finally:
            if writer is not None:
                writer.close()

    assert [await gets_in(who) for who in (clients, others, None)] == [True, False, False]
    trusted.write_bytes(others.file.read_bytes())
    os.utime(trusted, ns=(1, 1))
    one.now[0] += 2
    assert [await gets_in(who) for who in (clients, others, None)] == [False, True, False]


def test_files_that_cannot_be_used_are_told_at_start(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    cert, key, other = tmp_path / "a.crt", tmp_path / "a.key", tmp_path / "b.key"
    with pytest.raises(ConfigError, match=r"a TLS file cannot be read: .*a\.crt"):
        Tls(TlsFiles(cert=cert, key=key))
    authority.issue(cert, key, "a")
    authority.issue(tmp_path / "b.crt", other, "b")
    with pytest.raises(ConfigError, match=r"a\.crt with key .*b\.key cannot be used"):
        Tls(TlsFiles(cert=cert, key=other))


def test_settings_that_belong_together_are_told() -> None:
    assert GuardSettings(tls_cert="a").check() == ["tls-cert and tls-key belong together: give both, or neither"]
    assert GuardSettings(tls_client_ca="a").check() == ["tls-client-ca needs tls-cert and tls-key"]
    assert GuardSettings(tls_cert="a", tls_key="b", tls_client_ca="c").check() == []
