"""Connections to Postgres: a small pool, one transaction per ``with`` block, errors that say which server."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from gapsmith.core.errors import UnavailableError
from gapsmith.core.settings import Settings

Connection = psycopg.Connection[DictRow]


class Database:
    """A pool of connections to one database."""

    def __init__(self, url: str, *, connections: int = 4, timeout_s: float = 15.0) -> None:
        self.url = url
        self.timeout_s = timeout_s
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            url,
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
            UnavailableError: the server cannot be reached.
        """
        try:
            with self._pool.connection(timeout=self.timeout_s) as connection:
                yield connection
        except (PoolTimeout, psycopg.OperationalError) as error:
            if (
                isinstance(error, psycopg.OperationalError)
                and error.sqlstate is not None
                and error.sqlstate[:2] == "40"
            ):
                raise  # serialization or deadlock: the server is there
            raise UnavailableError(f"Postgres at {self.address} cannot be reached: {str(error).strip()}") from error

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

    @property
    def address(self) -> str:
        """Host, port and database, without the password."""
        parts: dict[str, Any] = conninfo_to_dict(self.url)
        return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def __enter__(self) -> "Database":
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()
