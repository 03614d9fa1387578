"""The dashboard as a process: finds a port, serves, tells where it is, and ends on SIGTERM."""

import asyncio
import errno
import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import psycopg
import structlog
import uvicorn
from fastapi import FastAPI

from gapsmith.core.errors import UnavailableError
from gapsmith.core.logs import configure_logging
from gapsmith.core.settings import Settings
from gapsmith.dashboard.app import create_app
from gapsmith.dashboard.connections import PatientProtocol
from gapsmith.dashboard.context import Context
from gapsmith.dashboard.settings import DashboardSettings
from gapsmith.stack import dashboard as address
from gapsmith.stack import owner
from gapsmith.store import heartbeats
from gapsmith.store.database import Connection, Database

log = structlog.get_logger()

NAME = "dashboard"
CONNECTIONS = 8
DATABASE_TIMEOUT_S = 4.0  # a page says soon that the database is away
PORTS = 100  # that are tried, one after another
LAST_PORT = 65535


def listen(host: str, port: int) -> socket.socket:
    """A listening socket at the port or the next free one; any free one if the port is 0.

    Raises:
        UnavailableError: the address is not this machine's, or none of a hundred ports is free.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in [0] if port == 0 else range(port, min(port + PORTS, LAST_PORT + 1)):
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
            listener.listen(128)
        except OSError as error:
            listener.close()
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                continue
            raise UnavailableError(
                f"GAPSMITH_DASHBOARD_HOST {host}: nothing can listen there: {error.strerror or error}"
            ) from error
        return listener
    raise UnavailableError(f"no free port from {port} on at {host}; set GAPSMITH_DASHBOARD_PORT to another one")


def url_of(listener: socket.socket) -> str:
    """What to type into a browser."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


class Server(uvicorn.Server):
    """uvicorn's server, which looks once a second instead of ten times; a signal wakes it."""

    _told: asyncio.Event | None = None

    async def main_loop(self) -> None:
        """Wait for the end; the date in the headers is kept meanwhile."""
        told = asyncio.Event()
        self._loop, self._told = asyncio.get_running_loop(), told
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), 1.0)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal that ends it has come; perhaps before it serves."""
        super().handle_exit(sig, frame)
        if self._told is not None:
            self._loop.call_soon_threadsafe(self._told.set)


def server_of(app: FastAPI) -> Server:
    """The web server; it is to be run with a listening socket."""
    return Server(
        uvicorn.Config(
            app,
            http=PatientProtocol,
            log_config=None,
            access_log=False,  # the guard writes it
            server_header=False,
            timeout_graceful_shutdown=3,
            timeout_keep_alive=30,
            limit_concurrency=2000,
            h11_max_incomplete_event_size=64 * 1024,
        )
    )


def main(settings: Settings) -> None:
    """Serve until told to stop."""
    configure_logging(settings)
    if settings.postgres_url is None:
        raise UnavailableError(
            "no Postgres is known: start the embedded stack with 'gapsmith up', or set GAPSMITH_POSTGRES_URL"
        )
    own = DashboardSettings.load()
    listener = listen(own.host, own.port)
    url = url_of(listener)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn ends by itself, and then raises the signal once more
        signal.signal(number, lambda *_: stopping.set())
    database = Database(settings.postgres_url.get_secret_value(), connections=CONNECTIONS, timeout_s=DATABASE_TIMEOUT_S)
    with listener, database:
        app = create_app(Context(database, settings, own))
        server = server_of(app)
        beating = threading.Thread(target=_beat, args=(settings, database, url, stopping), daemon=True)
        beating.start()
        log.info("serving", service=NAME, pid=os.getpid(), url=url)
        try:
            server.run(sockets=[listener])
        finally:
            stopping.set()
            address.remove(settings.home)
            beating.join(timeout=5.0)
    log.info("stopped", service=NAME)


def _write_down(settings: Settings, url: str) -> None:
    """For commands that print the address; in a container nobody can read it, and the folder may be read-only."""
    try:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        address.write(settings.home, url)
    except OSError as error:
        log.warning("address is not written down", reason=str(error))


def _beat(settings: Settings, database: Database, url: str, stopping: threading.Event) -> None:
    with suppress(OSError):  # in a container the home folder may be read-only: its owner makes a token by the command
        _with_patience(database, lambda connection: owner.register(connection, settings.home))
    while not stopping.is_set():
        if address.url(settings.home) is None:  # another dashboard of this home had written its own, and is gone
            _write_down(settings, url)
        _with_patience(database, lambda connection: heartbeats.beat(connection, NAME, url))
        stopping.wait(settings.heartbeat_s)
    _with_patience(database, lambda connection: heartbeats.end(connection, NAME))


def _with_patience(database: Database, work: Callable[[Connection], object]) -> None:
    try:
        with database.transaction() as connection:
            work(connection)
    except (UnavailableError, psycopg.Error) as error:
        log.warning("no heartbeat", reason=str(error))
