"""The database for a command."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gapsmith.store.database import Connection


@contextmanager
def connected() -> "Iterator[Connection]":
    """A transaction; raises UnavailableError."""
    from gapsmith.stack.connect import open_database

    with open_database() as database, database.transaction() as connection:
        yield connection
