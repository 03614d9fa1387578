"""The one way to question candidates: a validated query, parametrised SQL, typed rows, a page or all of them.

The command line, the API, its client and the pages of the dashboard ask through here, so that they answer alike.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg

from gapsmith.core.errors import InputError
from gapsmith.store.database import Connect, Connection, held
from gapsmith.store.query_cursor import Position
from gapsmith.store.query_model import CandidateQuery, Range, parse_fields, parse_sort, parse_states
from gapsmith.store.query_rows import Found, records
from gapsmith.store.query_search import Search

if TYPE_CHECKING:  # numpy is heavy
    from collections.abc import Collection

    from gapsmith.core.domain import Molecule

__all__ = [
    "CandidateQuery",
    "Page",
    "Range",
    "batches",
    "find",
    "geometries",
    "page",
    "parse_fields",
    "parse_sort",
    "parse_states",
]
BATCH = 2000  # candidates that are looked up at once
SEARCH_S = 0.7  # of a page with a time limit: a search for a rare substructure ends it here, and goes on with the next


@dataclass(frozen=True)
class Page:
    """A part of an answer."""

    rows: list[dict[str, Any]]  # ``query.columns`` of each
    cursor: str | None  # of the next page; None: this was the last


def page(
    connect: Connect,
    query: CandidateQuery,
    *,
    size: int = 50,
    cursor: str | None = None,
    seconds: float | None = None,
) -> Page:
    """The candidates after a cursor.

    Pages hang together while candidates are added: none comes twice, and none is missed that was there all the time.

    Args:
        connect: a transaction; one is enough, unless molecules are compared with a substructure, when none is open.
        query: the question; its limit is not looked at.
        size: most candidates of the page. There are fewer on the last one, and where time ran out.
        cursor: of the page before.
        seconds: that it may take; a search for a substructure ends its page earlier then.

    Raises:
        InputError: no such campaign; SMARTS, SMILES or cursor are invalid; it takes too long.
    """

    @contextmanager
    def limited() -> Iterator[Connection]:
        with connect() as connection, bounded(connection, seconds):
            yield connection

    with ExitStack() as block:
        opened = limited if query.smarts is not None else held(block.enter_context(limited()))
        deadline = None if seconds is None else time.monotonic() + min(SEARCH_S, seconds)
        search = Search(opened, query, deadline=deadline)
        after = None if cursor is None else Position.parse(cursor, query.digest, dated=search.dated)
        found, following = search.take(after, size)
        with opened() as connection:
            rows = records(connection, found, query.columns)
    return Page(rows, None if following is None else following.text(query.digest))


def batches(connect: Connect, query: CandidateQuery) -> Iterator[list[Found]]:
    """All candidates that a query selects, up to its limit, some at a time; raises InputError like ``find``."""
    search = Search(connect, query)
    left, position = query.limit, Position(0)
    while left is None or left > 0:
        found, following = search.take(position, BATCH if left is None else min(left, BATCH))
        if found:
            yield found
        if following is None:
            return
        left, position = None if left is None else left - len(found), following


def find(connect: Connect, query: CandidateQuery) -> list[dict[str, Any]]:
    """Candidates that a query selects, by column.

    Raises:
        InputError: there is no such campaign, the SMARTS or the SMILES is invalid.
    """
    rows: list[dict[str, Any]] = []
    for found in batches(connect, query):
        with connect() as connection:
            rows += records(connection, found, query.columns)
    return rows


@contextmanager
def bounded(connection: Connection, seconds: float | None) -> Iterator[None]:
    """Let no statement of a transaction take longer; raises InputError for one that does."""
    if seconds is not None:
        connection.execute("SELECT set_config('statement_timeout', %s, true)", (f"{round(seconds * 1000)}ms",))
    try:
        yield
    except psycopg.errors.QueryCanceled as error:
        raise InputError(
            f"the question takes more than {seconds or 0:g} s; narrow it by a campaign, a state or a range, or sort otherwise"
        ) from error


def geometries(connection: Connection, conformer_ids: "Collection[UUID]") -> "dict[UUID, Molecule]":
    """Molecules with coordinates and bonds by conformer id; raises DataError if one is damaged."""
    from gapsmith.core.codec import decode

    rows = connection.execute(
        "SELECT id, numbers, coordinates_angstrom, bonds, charges FROM conformers WHERE id = ANY(%s)",
        (list(conformer_ids),),
    ).fetchall()
    return {row.pop("id"): decode(**row) for row in rows}
