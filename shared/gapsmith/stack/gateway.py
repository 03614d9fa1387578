"""The one port at which DFT workers of other machines reach the embedded Postgres and Valkey: ``gapsmith up --listen``.

The key that ``up`` prints holds the certificate's hash, by which a worker recognises the gateway, and the secret. Everything
is encrypted by TLS 1.3. A worker sends one line, ``SECRET SERVICE``; a client without the secret gets no answer. The servers
stay on loopback and ask for their passwords as well. Kafka is not offered: workers do not need it, and it has no passwords.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import structlog

from gapsmith.core.errors import InputError, UnavailableError
from gapsmith.core.logs import configure_logging
from gapsmith.core.settings import Settings, settings
from gapsmith.stack.state import secret, write_private

NAME: Final = "gateway"
PORT: Final = 8790  # unless another one is asked for
SERVICES: Final = ("postgres", "celery")
SETTINGS: Final = "settings"  # where they are and their passwords
HELLO_S: Final = 10.0  # for the handshake and the line
MOST_LINE: Final = 200
MOST_STRANGERS: Final = 64  # connections at a time that have not said the secret yet
VALID_DAYS: Final = 3650
CHUNK: Final = 2**16

log = structlog.get_logger()


@dataclass(frozen=True)
class Identity:
    """What workers recognise the gateway by, and it them."""

    certificate: Path  # with its private key
    secret: str
    fingerprint: str  # SHA-256 of the certificate

    @property
    def key(self) -> str:
        """What a worker has to know, on one line."""
        return f"{self.fingerprint}.{self.secret}"


def address(text: str) -> tuple[str, int]:
    """Host and port of ``HOST[:PORT]``; raises InputError."""
    try:
        parts = urlsplit(f"//{text}")
        if parts.hostname and not (parts.path or parts.query or parts.username or parts.fragment):
            return parts.hostname, parts.port or PORT
    except ValueError:
        pass
    raise InputError(f"{text[:100]!r} is not an address: write HOST or HOST:PORT, for example 192.168.1.5:{PORT}")


def identity(home: Path) -> Identity:
    """Certificate and secret of a home, made at the first use; raises UnavailableError."""
    folder = home / NAME
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / "certificate.pem"
    if not path.exists():
        write_private(path, _new_certificate())
    der = ssl.PEM_cert_to_DER_cert(path.read_text().partition("-----END PRIVATE KEY-----")[2].strip())
    return Identity(path, secret(folder / "secret"), fingerprint(der))


def fingerprint(certificate: bytes) -> str:
    """Of a certificate in DER."""
    return base64.urlsafe_b64encode(hashlib.sha256(certificate).digest()).decode().rstrip("=")


def _new_certificate() -> str:
    """A private key and its self-signed certificate, in PEM."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise UnavailableError("listening needs the package cryptography: install gapsmith[embedded]") from error
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gapsmith")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=private.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=VALID_DAYS))
    pem = serialization.Encoding.PEM
    raw = private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return (raw + builder.sign(private, hashes.SHA256()).public_bytes(pem)).decode()


class Gateway:
    """Lets in who knows the secret.

    Args:
        own: certificate and secret.
        urls: of the servers, by service.
    """

    def __init__(self, own: Identity, urls: Mapping[str, str]) -> None:
        self._secret = own.secret.encode()
        self._urls = urls
        self._strangers = 0
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_3
        self._tls.load_cert_chain(own.certificate)

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """Begin to listen; raises UnavailableError."""
        try:
            return await asyncio.start_server(
                self._accept, host, port, limit=CHUNK, ssl=self._tls, ssl_handshake_timeout=HELLO_S
            )
        except OSError as error:
            raise UnavailableError(f"nothing can listen at {host}:{port}: {error.strerror or error}") from error

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if (service := await self._asked(reader)) == SETTINGS:
                writer.write(json.dumps(dict(self._urls)).encode() + b"\n")
                await writer.drain()
            elif service is not None:
                target = urlsplit(self._urls[service])
                inside = await asyncio.open_connection(target.hostname, target.port)
                writer.write(b"ok\n")
                await splice((reader, writer), inside)
        except OSError as error:
            log.warning("a worker's connection ended", reason=str(error))
        finally:
            writer.close()

    async def _asked(self, reader: asyncio.StreamReader) -> str | None:
        """The service that somebody who knows the secret asks for."""
        if self._strangers >= MOST_STRANGERS:
            return None
        self._strangers += 1
        try:
            line = await asyncio.wait_for(reader.readline(), HELLO_S)
        except (TimeoutError, ValueError):  # silent, or too long
            return None
        finally:
            self._strangers -= 1
        said, _, service = line[:MOST_LINE].strip().partition(b" ")
        if not hmac.compare_digest(said, self._secret) or service.decode(errors="replace") not in (*SERVICES, SETTINGS):
            log.warning("a stranger was turned away")
            return None
        return service.decode()


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def splice(one: Ends, other: Ends) -> None:
    """Pass on what comes from either side until one of them ends; then close both."""
    ways = [asyncio.create_task(_pass_on(one[0], other[1])), asyncio.create_task(_pass_on(other[0], one[1]))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for _, writer in (one, other):
            writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()


async def _serve(own: Settings) -> None:
    assert own.listen  # its supervisor starts it with one
    assert own.postgres_url  # and with the servers' addresses
    assert own.celery_broker_url
    urls = {"postgres": own.postgres_url.get_secret_value(), "celery": own.celery_broker_url.get_secret_value()}
    gateway = Gateway(identity(own.home), urls)
    async with await gateway.listen(*address(own.listen)) as server:
        log.info("serving", service=NAME, address=own.listen)
        await server.serve_forever()


if __name__ == "__main__":
    configure_logging(settings())
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # which tells of every failed handshake
    asyncio.run(_serve(settings()))
