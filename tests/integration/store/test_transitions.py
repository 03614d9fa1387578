"""The database allows the transitions of the lifecycle, and no others."""

from itertools import product

import psycopg
import pytest
from carbonyls import fill

from gapsmith.core.lifecycle import (
    TRANSITIONS,
    CalculationState,
    CampaignState,
    CandidateState,
    ModelState,
    TaskState,
)
from gapsmith.store import campaigns, tasks
from gapsmith.store.database import Database

pytestmark = pytest.mark.service
STATES = {
    "campaigns": CampaignState,
    "candidates": CandidateState,
    "calculations": CalculationState,
    "tasks": TaskState,
    "models": ModelState,
}


@pytest.fixture(scope="module")
def filled(module_database: Database) -> Database:
    """A database with a row of each table."""
    fill(module_database)
    with module_database.transaction() as connection:
        campaign = campaigns.every(connection)[0]
        tasks.add(connection, campaign.id, service="generator", kind="generate", payload={}, campaign_id=campaign.id)
    return module_database


def test_every_table_with_transitions_is_tested() -> None:
    assert STATES.keys() == TRANSITIONS.keys()


@pytest.mark.parametrize("table", STATES)
def test_other_changes_of_state_are_refused(filled: Database, table: str) -> None:
    states = list(STATES[table])
    change = f"UPDATE {table} SET state = %s WHERE id = %s"
    with filled.transaction() as connection, connection.transaction(force_rollback=True):
        row = connection.execute(f"SELECT id FROM {table} ORDER BY state = 'live' DESC, id LIMIT 1").fetchone()
        assert row is not None
        for before, after in product(states, states):
            connection.execute("SET LOCAL session_replication_role = replica")  # triggers sleep
            connection.execute(change, (before, row["id"]))
            connection.execute("SET LOCAL session_replication_role = origin")
            if before == after or after in TRANSITIONS[table].get(before, ()):
                connection.execute(change, (after, row["id"]))
            else:
                message = f"it cannot go from {before} to {after}"
                with pytest.raises(psycopg.errors.CheckViolation, match=message), connection.transaction():
                    connection.execute(change, (after, row["id"]))
