"""Rows of an answer: the columns of ``core.columns`` out of Postgres."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from gapsmith.core.columns import BY_NAME
from gapsmith.core.output import FORMULA
from gapsmith.store.database import Connection


class Found(NamedTuple):
    """A candidate that a search has found."""

    id: UUID
    key: Any  # what it is sorted by
    similarity: float | None


_FROM = """
    FROM unnest(%(ids)s::uuid[], %(similarities)s::float8[]) WITH ORDINALITY AS o (id, similarity, place)
    JOIN candidates c ON c.id = o.id JOIN molecules m ON m.id = c.molecule_id"""
_JOINS: Final = {  # by alias, where a column needs it
    "g.": "JOIN campaigns g ON g.id = c.campaign_id",
}
_TEXTS: Final = {  # by type
    bool: "{0}::text",
    str: "CASE WHEN left({0}, 1) = ANY(%(formula)s) THEN '''' || {0} ELSE {0} END",
    datetime: "to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"+00:00\"')",
}


def statement(columns: Sequence[str], *, text: bool = False) -> str:
    """SELECT of columns of found candidates, in their order; ``parameters`` has its values.

    Args:
        columns: names; raises KeyError for an unknown one.
        text: written as ``core.output.cells`` and ``plain`` do.
    """
    chosen = [BY_NAME[name].sql for name in columns]
    joins = [join for alias, join in _JOINS.items() if any(expression.startswith(alias) for expression in chosen)]
    if text:
        chosen = [_TEXTS.get(BY_NAME[name].type, "{0}").format(f"({BY_NAME[name].sql})") for name in columns]
    named = ", ".join(f"{expression} AS {name}" for expression, name in zip(chosen, columns, strict=True))
    return "\n".join([f"SELECT {named}", _FROM, *joins, "ORDER BY o.place"])


def parameters(found: Sequence[Found]) -> dict[str, Any]:
    """Values of ``statement``."""
    values = {"ids": [one.id for one in found], "similarities": [one.similarity for one in found]}
    return {**values, "formula": list(FORMULA)}


def records(connection: Connection, found: Sequence[Found], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Columns of found candidates, in their order."""
    return connection.execute(statement(columns), parameters(found)).fetchall()
