"""Deletes jobs and campaigns with what belongs to them alone; what others use stays.

Geometries go if nothing refers to them any more. Which molecules there are (InChIKey, SMILES) and the models that came of a
campaign stay.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from gapsmith.core.errors import Conflict
from gapsmith.store import campaigns, candidates
from gapsmith.store.calculations import choosing
from gapsmith.store.database import Connection
from gapsmith.store.jobs import JobFilter

GEOMETRIES: Final = {  # columns that refer to conformers; without an index each deletion would read all of them
    "candidates": ("conformer_id", "relaxed_conformer_id", "certified_conformer_id"),
    "calculations": ("conformer_id", "result_conformer_id"),
}


@dataclass(frozen=True)
class DeletedJobs:
    """What a deletion of jobs comes to."""

    jobs: int
    geometries: int
    running: int = 0  # selected and left alone
    shared: int = 0  # of campaigns' candidates, and left alone


@dataclass(frozen=True)
class DeletedCampaign:
    """What a deletion of a campaign comes to."""

    candidates: int
    jobs: int
    geometries: int
    shared: int  # jobs of its candidates that stay, because others use them


def jobs(connection: Connection, selected: JobFilter) -> DeletedJobs:
    """Delete jobs that do not run and that no campaign's candidate has; the transaction may be rolled back to try it out."""
    selected.check(connection)
    where, values = selected.conditions()
    doomed, running, shared = choosing.deletable(connection, where, values)
    return DeletedJobs(len(doomed), _delete_jobs(connection, doomed, []), running, shared)


def campaign(connection: Connection, campaign_id: UUID) -> DeletedCampaign:
    """Delete a campaign that has ended; raises Conflict for one that has not, or that something still works on."""
    campaigns.lock(connection, campaign_id)
    one = campaigns.get(connection, campaign_id)
    if not one.state.ended:
        raise Conflict(f"campaign {one.name!r} is {one.state}; first end it: gapsmith campaign stop {one.name}")
    row = connection.execute(
        """SELECT (SELECT count(*) FROM calculations WHERE campaign_id = %(id)s AND state = 'running')
                + (SELECT count(*) FROM tasks WHERE campaign_id = %(id)s AND state IN ('pending', 'running')) AS busy""",
        {"id": campaign_id},
    ).fetchone()
    if row is not None and row["busy"]:
        raise Conflict(f"{row['busy']} jobs or tasks of campaign {one.name!r} still run; wait until they have ended")
    count, geometries, asked_for = candidates.delete_all(connection, campaign_id)
    doomed, shared = choosing.of_campaign_alone(connection, campaign_id, asked_for)
    for table in ("models", "training_runs"):
        connection.execute(f"UPDATE {table} SET campaign_id = NULL WHERE campaign_id = %s", (campaign_id,))
    for table in ("tasks", "requests", "draws"):
        connection.execute(f"DELETE FROM {table} WHERE campaign_id = %s", (campaign_id,))
    gone = _delete_jobs(connection, doomed, geometries)
    connection.execute("DELETE FROM campaigns WHERE id = %s", (campaign_id,))
    return DeletedCampaign(count, len(doomed), gone, shared)


def _delete_jobs(connection: Connection, ids: Sequence[UUID], geometries: Sequence[UUID]) -> int:
    """Delete jobs, and of their geometries and some others those that nothing refers to; returns how many of these."""
    freed = {*geometries, *choosing.delete(connection, ids)}
    if not freed:
        return 0
    used = " AND ".join(
        f"NOT EXISTS (SELECT 1 FROM {table} u WHERE u.{column} = f.id)"
        for table, columns in GEOMETRIES.items()
        for column in columns
    )
    with _indexed(connection):
        return connection.execute(f"DELETE FROM conformers f WHERE f.id = ANY(%s) AND {used}", (list(freed),)).rowcount


@contextmanager
def _indexed(connection: Connection) -> Iterator[None]:
    """Have the columns that refer to geometries indexed for the time of a deletion; day by day nobody asks for them."""
    names = [
        (f"deleting_{table}_{column}", table, column) for table, columns in GEOMETRIES.items() for column in columns
    ]
    for name, table, column in names:
        connection.execute(f"CREATE INDEX {name} ON {table} ({column})")
    yield
    for name, _, _ in names:
        connection.execute(f"DROP INDEX {name}")
