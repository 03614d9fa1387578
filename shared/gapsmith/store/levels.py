"""Levels of theory as they were asked for, so that a worker needs no file of them."""

from psycopg.types.json import Jsonb

from gapsmith.core.levels import LevelOfTheory
from gapsmith.store.database import Connection


def keep(connection: Connection, level: LevelOfTheory) -> str:
    """Store a level under its version, which is returned; limits of an earlier definition are replaced."""
    connection.execute(
        """INSERT INTO levels (version, name, definition) VALUES (%s, %s, %s)
           ON CONFLICT (version) DO UPDATE SET name = EXCLUDED.name, definition = EXCLUDED.definition
           WHERE levels.definition <> EXCLUDED.definition""",
        (level.version, level.name, Jsonb(level.model_dump(mode="json"))),
    )
    return level.version


def get(connection: Connection, version: str) -> LevelOfTheory | None:
    """The level of a version."""
    row = connection.execute("SELECT definition FROM levels WHERE version = %s", (version,)).fetchone()
    return LevelOfTheory.model_validate(row["definition"]) if row else None
