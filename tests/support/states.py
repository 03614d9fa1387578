"""Rows in any state, by the way that leads there."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from gapsmith.core.lifecycle import TRANSITIONS
from gapsmith.store.database import Connection


def bring(connection: Connection, table: str, row_id: UUID, state: str) -> None:
    """Change a row's state, transition after transition, until it is the wanted one."""
    row = connection.execute(f"SELECT state FROM {table} WHERE id = %s", (row_id,)).fetchone()
    assert row is not None
    for one in way(TRANSITIONS[table], row["state"], state):
        connection.execute(f"UPDATE {table} SET state = %s WHERE id = %s", (one, row_id))


def way(arrows: Mapping[Any, tuple[str, ...]], start: str, end: str) -> list[str]:
    """The shortest way between two states, without the first."""
    ways = [[start]]
    for one in ways:
        if one[-1] == end:
            return [str(state) for state in one[1:]]
        ways += [[*one, after] for after in arrows.get(one[-1], ()) if after not in one]
    raise AssertionError(f"no way leads from {start} to {end}")
