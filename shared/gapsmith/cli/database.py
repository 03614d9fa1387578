"""The database for a command."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gapsmith.store.database import Connection


@contextmanager
def connected() -> "Iterator[Connection]":
    """A transaction; raises UnavailableError or, if the database is of an earlier version, InputError."""
    import psycopg

    from gapsmith.core.errors import InputError
    from gapsmith.stack.connect import open_database

    with open_database() as database:
        try:
            with database.transaction() as connection:
                yield connection
        except (psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedTable) as error:
            raise InputError(
                f"the database is of an earlier version; bring it up to date with: gapsmith migrate ({error})"
            ) from error
