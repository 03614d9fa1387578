"""Connections to Postgres: a small pool, one transaction per ``with`` block, errors that say which server."""

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from gapsmith.core.errors import OutdatedSchema, TooSlow, UnavailableError
from gapsmith.core.settings import Settings

Connection = psycopg.Connection[DictRow]
Connect = Callable[[], AbstractContextManager[Connection]]  # opens a transaction for a ``with`` block
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # whoever waits for a connection says why there is none

LOOK_EVERY_S = 1.0  # at why there is no connection yet
# libpq gives no SQLSTATE of a failed connection, only the server's text; waiting does not help against these
_REFUSAL = re.compile(
    "authentication failed|no password supplied|no pg_hba.conf entry|(role|database) .* does not exist|permission denied"
)


def unreachable(url: str, reason: str) -> str:
    """Why there is no connection to a server, in one sentence: it is not there, or it refuses."""
    if _REFUSAL.search(reason):
        return (
            f"Postgres at {address(url)} refuses the connection: {reason.rpartition('FATAL:')[2].strip()}; correct the "
            "user, password or database in GAPSMITH_POSTGRES_URL"
        )
    return f"Postgres at {address(url)} cannot be reached: {reason.strip()}"


class Database:
    """A pool of connections to one database."""

    def __init__(self, url: str, *, connections: int = 4, timeout_s: float = 15.0) -> None:
        self.url = url
        self.timeout_s = timeout_s
        self._failures: list[str] = []  # why the last connection could not be made
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            url,
            connection_class=_remembering(self._failures),
            min_size=0,
            max_size=connections,
            timeout=timeout_s,
            max_idle=60.0,
            kwargs={"row_factory": dict_row, "connect_timeout": 5},
            check=ConnectionPool.check_connection,
            open=True,
        )

    @classmethod
    def from_settings(cls, settings: Settings, *, connections: int = 4) -> "Database":
        """The database of the settings; raises UnavailableError if they name none."""
        if settings.postgres_url is None:
            raise UnavailableError(
                "no Postgres is known: start the embedded stack with 'gapsmith up', or set GAPSMITH_POSTGRES_URL"
            )
        return cls(settings.postgres_url.get_secret_value(), connections=connections)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection in a transaction: committed at the end of the block, rolled back on an exception.

        Raises:
            UnavailableError: the server cannot be reached, or refuses user, password or database.
            OutdatedSchema: a table or a column is missing.
            TooSlow: a statement was ended because it took too long.
        """
        try:
            with ExitStack() as block:
                yield self._connected(block)
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
            raise OutdatedSchema(
                f"the database at {self.address} is of an earlier version; bring it up to date with: gapsmith migrate "
                f"({str(error).splitlines()[0]})"
            ) from error
        except psycopg.errors.QueryCanceled as error:
            raise TooSlow(f"that takes too long; {TooSlow.code.advice}") from error
        except (PoolTimeout, psycopg.OperationalError) as error:
            if (
                isinstance(error, psycopg.OperationalError)
                and error.sqlstate is not None
                and error.sqlstate[:2] == "40"
            ):
                raise  # serialization or deadlock: the server is there
            raise UnavailableError(self._explained(error)) from error

    def _connected(self, block: ExitStack) -> Connection:
        """A connection of the pool, which tries again until its time is up or the server refuses."""
        deadline = time.monotonic() + self.timeout_s
        while True:
            left = deadline - time.monotonic()
            try:
                return block.enter_context(self._pool.connection(timeout=max(min(left, LOOK_EVERY_S), 0.01)))
            except PoolTimeout:
                if left <= LOOK_EVERY_S or any(map(_REFUSAL.search, self._failures)):
                    raise

    def _explained(self, error: Exception) -> str:
        refused = isinstance(error, PoolTimeout) and self._failures
        return unreachable(self.url, self._failures[0] if refused else str(error))

    @contextmanager
    def snapshot(self, statement_ms: int) -> Iterator[Connection]:
        """A transaction that sees one state of the database to its end, and no statement of which may take longer.

        Raises:
            UnavailableError: the server cannot be reached.
        """
        with self.transaction() as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            connection.execute(f"SET LOCAL statement_timeout = {int(statement_ms)}")
            yield connection

    @contextmanager
    def tried(self) -> Iterator[Connection]:
        """A transaction that is rolled back at its end: what a change would do."""
        with self.transaction() as connection, connection.transaction(force_rollback=True):
            yield connection

    @property
    def address(self) -> str:
        """Of its server, without the password."""
        return address(self.url)

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def __enter__(self) -> "Database":
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


def _remembering(failures: list[str]) -> type[Connection]:
    """A connection class that keeps the reason of the last failure, which the pool does not tell."""

    class Remembering(psycopg.Connection[DictRow]):
        @classmethod
        def connect(cls, *arguments: Any, **options: Any) -> Self:
            try:
                made = super().connect(*arguments, **options)
            except psycopg.OperationalError as error:
                failures[:] = [str(error).strip()]
                raise
            failures.clear()
            return made

    return Remembering


def held(connection: Connection) -> Connect:
    """One open transaction for all blocks."""
    return lambda: nullcontext(connection)


def address(url: str) -> str:
    """Host, port and database of a URL, without the password."""
    parts: dict[str, Any] = conninfo_to_dict(url)
    return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"
