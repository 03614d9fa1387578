"""The other machine's side of ``stack/gateway.py``: loopback ports here that lead to the servers there."""

import asyncio
import json
import ssl
import threading
import time
from functools import partial
from typing import Any, Final, Self
from urllib.parse import urlsplit

from pydantic import SecretStr

from gapsmith.core.errors import InputError, UnavailableError
from gapsmith.core.settings import Settings
from gapsmith.stack.gateway import SERVICES, SETTINGS, Ends, fingerprint, splice

ANSWER_S: Final = 15.0
MOST_ANSWER: Final = 2**14


def wait_for_gateway(host: str, port: int, key: str, within_s: float) -> None:
    """Return as soon as a gateway lets this key in; raises UnavailableError if it does not in time."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            with Joined(host, port, key):
                return
        except UnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


class Joined:
    """Ports of this machine that lead to a gateway's servers, for as long as the block lasts.

    Args:
        host: of the gateway.
        port: of the gateway.
        key: that ``gapsmith up --listen`` printed.

    Raises:
        InputError: the key is not one.
    """

    def __init__(self, host: str, port: int, key: str) -> None:
        self._host, self._port = host, port
        self._fingerprint, _, self._secret = key.strip().partition(".")
        if not (self._secret.isascii() and self._secret and len(self._fingerprint) == 43):
            raise InputError("that is not a key: take the whole command that gapsmith up --listen printed")
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_3
        self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE  # it is compared with the key instead
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="joined", daemon=True)
        self._servers: list[asyncio.Server] = []
        self._urls: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Open the ports; raises UnavailableError, or InputError if the gateway has another certificate or secret."""
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Close them."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def apply(self, own: Settings) -> Settings:
        """The same settings, pointing at the ports."""
        urls = {name: SecretStr(self._urls[name]) for name in SERVICES}
        return own.model_copy(update={"postgres_url": urls["postgres"], "celery_broker_url": urls["celery"]})

    async def _open(self) -> None:
        reader, writer = await self._ask(SETTINGS)
        line = await asyncio.wait_for(reader.readline(), ANSWER_S)
        writer.close()
        if not line:
            raise InputError(
                f"the gateway at {self._host}:{self._port} does not know this key; take the one it printed last"
            )
        urls: dict[str, Any] = json.loads(line)
        for name in SERVICES:
            server = await asyncio.start_server(partial(self._accept, name), "127.0.0.1", 0)
            self._servers.append(server)
            there = urlsplit(str(urls[name]))
            here = f"{there.netloc.rpartition('@')[0]}@127.0.0.1:{server.sockets[0].getsockname()[1]}"
            self._urls[name] = there._replace(netloc=here).geturl()

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _ask(self, service: str) -> Ends:
        """A connection to a service, over which only the secret was sent yet, and that only to the right gateway."""
        where = f"{self._host}:{self._port}"
        try:
            reader, writer = await asyncio.wait_for(
                asyncio.open_connection(self._host, self._port, ssl=self._tls, limit=MOST_ANSWER), ANSWER_S
            )
        except (OSError, TimeoutError) as error:
            raise UnavailableError(
                f"no gateway answers at {where} ({error or type(error).__name__}); is 'gapsmith up --listen' running there?"
            ) from error
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        if fingerprint(certificate) != self._fingerprint:
            writer.close()
            raise InputError(
                f"{where} is not the gateway of this key, so nothing was sent to it; check address and key"
            )
        writer.write(f"{self._secret} {service}\n".encode())
        return reader, writer

    async def _accept(self, service: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await self._ask(service)
            if await asyncio.wait_for(there[0].readline(), ANSWER_S) == b"ok\n":
                await splice((reader, writer), there)
            else:
                there[1].close()
        except (OSError, TimeoutError, InputError, UnavailableError):
            pass  # who connected notices, and tries again
        finally:
            writer.close()
