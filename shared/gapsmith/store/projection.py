"""Columns and indexes of ``candidates`` for what ``core.columns`` can be filtered and sorted by.

Values of properties are stored as JSON, by property: in ``predictions`` and in ``calculations``. What questions ask for
stands beside each candidate as a number, which triggers keep up to date. ``migrate`` brings all of it in line with the
registered properties, so that a new one needs no migration of its own.
"""

from collections.abc import Callable
from typing import Any, Final

from psycopg import sql
from psycopg.types.json import Jsonb

from gapsmith.core import columns, properties
from gapsmith.core.columns import Column
from gapsmith.core.properties import Estimate
from gapsmith.store import candidates
from gapsmith.store.database import Connection

BATCH: Final = 1000  # rows
MOST_OF_INDEX: Final = 32  # columns, says Postgres
VALUE: Final = "violation"  # of the campaign's target, by which hits are found

# A certificate's values come before the label's.
_RESULTS = """
CREATE OR REPLACE FUNCTION candidates_copy_results() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE found jsonb;
BEGIN
    SELECT coalesce(t.properties, '{{}}') || coalesce(k.properties, '{{}}') INTO found
    FROM (SELECT) AS one
    LEFT JOIN calculations t ON t.id = NEW.triage_id AND NEW.state IN ('labelled', 'certified')
    LEFT JOIN calculations k ON k.id = NEW.certificate_id AND NEW.state = 'certified';
    {assignments}
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER candidates_copy_results BEFORE INSERT OR UPDATE OF state, triage_id, certificate_id ON candidates
    FOR EACH ROW EXECUTE FUNCTION candidates_copy_results();
"""


def refresh(connection: Connection) -> None:
    """Add what is missing, fill it, and drop indexes that no column wants any more."""
    known, new = _registered(connection), list(properties.registered())
    for column in _stored():
        if column.type is float:
            statement = "ALTER TABLE candidates ADD COLUMN IF NOT EXISTS {} double precision"
            connection.execute(sql.SQL(statement).format(sql.Identifier(column.sql.removeprefix("c."))))
    if known != new:
        _define(connection, new)
        _derive(connection)
        candidates.copy_results(connection)
        if set(new) - set(known):
            candidates.copy_predictions(connection)
    _index(connection)


def _stored() -> list[Column]:
    """Columns that stand in ``candidates``."""
    return [one for one in columns.ALL if one.sql.startswith("c.") and (one.sortable or one.filterable)]


def _registered(connection: Connection) -> list[str]:
    """The properties that the functions of the database know."""
    row = connection.execute(
        "SELECT obj_description(to_regprocedure('candidates_copy_predictions(uuid[])')) AS known"
    ).fetchone()
    return row["known"].split() if row is not None and row["known"] else []


def _define(connection: Connection, names: list[str]) -> None:
    known = [properties.get(name) for name in names]
    results = "\n    ".join(f"NEW.dft_{one.column} := (found ->> '{one.name}')::float8;" for one in known)
    predicted = {
        column: f"(p.properties #>> '{{{one.name},{what}}}')::float8"
        for one in known
        for column, what in zip(columns.predicted_names(one), ("mean", "std"), strict=True)
    }
    connection.execute(_RESULTS.format(assignments=results).encode())
    candidates.define_copy_predictions(connection, predicted)
    comment = f"COMMENT ON FUNCTION candidates_copy_predictions(uuid[]) IS '{' '.join(names)}'"
    connection.execute(comment.encode())


def _derive(connection: Connection) -> None:
    """Values that follow from results and predictions which are stored already."""
    _fill(
        connection,
        "calculations",
        """SELECT id, coalesce(result, '{}') || jsonb_strip_nulls(jsonb_build_object('energy_hartree', energy_hartree,
               'gap_ev', gap_ev, 'homo_ev', homo_ev, 'lumo_ev', lumo_ev, 'dipole_debye', dipole_debye)) AS known
           FROM calculations WHERE state = 'done'""",
        properties.computed,
    )
    _fill(
        connection,
        "predictions",
        "SELECT ctid AS id, properties AS known FROM predictions",
        lambda known: {
            name: one._asdict()
            for name, one in properties.predicted({name: Estimate(**one) for name, one in known.items()}).items()
        },
    )


def _fill(connection: Connection, table: str, select: str, values: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    with connection.cursor(name="known") as rows, connection.cursor() as cursor:
        rows.execute(select.encode())
        while some := rows.fetchmany(BATCH):
            key = "ctid = %s::tid" if table == "predictions" else "id = %s"
            statement = f"UPDATE {table} SET properties = properties || %s WHERE {key}"
            cursor.executemany(statement.encode(), [(Jsonb(values(row["known"])), row["id"]) for row in some])


def _index(connection: Connection) -> None:
    """One index for each column to sort or filter by, which begins with the state.

    What some state never has is then known at once, where statistics of single columns would mislead the planner. The covered
    columns stand in every index, so that what a question passes over along another order is not looked up.
    """
    wanted = {}
    names = [VALUE, *(one.sql.removeprefix("c.") for one in _stored())]
    many = sorted(
        (one for one in _stored() if one.covered), key=lambda one: one.certifiable
    )  # what all have comes first
    covered = ["campaign_id", "molecule_id", VALUE, *(one.sql.removeprefix("c.") for one in many)]
    for name in names:
        others = ", ".join([one for one in covered if one != name][: MOST_OF_INDEX - 3])
        wanted[f"candidates_by_{name}"] = f"ON candidates (state, {name}, id) INCLUDE ({others})"
    rows = connection.execute(
        """SELECT i.indexrelid::regclass::text AS name, obj_description(i.indexrelid) AS definition FROM pg_index i
           WHERE i.indrelid = 'candidates'::regclass"""
    )
    there = {row["name"]: row["definition"] for row in rows if row["definition"]}
    for name in there:
        if there[name] != wanted.get(name):
            connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    for name, definition in wanted.items():
        if there.get(name) != definition:
            connection.execute(f"CREATE INDEX {name} {definition}".encode())
            connection.execute(f"COMMENT ON INDEX {name} IS '{definition}'".encode())
