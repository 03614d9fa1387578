"""Calculations are asked for by content, and shared by all who ask for the same."""

from uuid import UUID, uuid4

from gapsmith.core.errors import FailureCode
from gapsmith.core.levels import LevelOfTheory
from gapsmith.store import levels
from gapsmith.store.calculations.rows import COLUMNS, Calculation
from gapsmith.store.calculations.working import announce, cancel
from gapsmith.store.database import Connection

_WAITED_FOR = """
    FROM candidates c JOIN calculations k ON k.id = CASE c.state WHEN 'selected' THEN c.triage_id ELSE c.certificate_id END
    WHERE c.state IN ('selected', 'labelled')"""

_AGAIN = f"""(calculations.state = 'cancelled'
              OR (calculations.state = 'failed' AND calculations.failure_code = '{FailureCode.MEMORY}'))"""


def request(
    connection: Connection,
    *,
    content_hash: str,
    level: LevelOfTheory,
    conformer_id: UUID,
    campaign_id: UUID | None,
    charge: int = 0,
    spin: int = 0,
    priority: int = 0,
    source: str = "coordinator",
) -> Calculation:
    """Find the calculation of that content, or queue it; the row stays locked until the transaction ends.

    A cancelled one is queued again, and so is one that failed for want of memory, for the limit or the machine may be another
    now. One that is done or failed otherwise is returned as it is: its result is there already.
    """
    row = connection.execute(
        f"""INSERT INTO calculations (id, content_hash, level, level_version, queue, campaign_id, conformer_id, charge, spin,
                                      priority, state)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'queued')
            ON CONFLICT (content_hash) DO UPDATE SET
                priority = greatest(calculations.priority, EXCLUDED.priority),
                campaign_id = CASE WHEN {_AGAIN} THEN EXCLUDED.campaign_id ELSE calculations.campaign_id END,
                finished_at = CASE WHEN {_AGAIN} THEN NULL ELSE calculations.finished_at END,
                not_before = CASE WHEN {_AGAIN} THEN now() ELSE calculations.not_before END,
                losses = CASE WHEN {_AGAIN} THEN 0 ELSE calculations.losses END,
                transients = CASE WHEN {_AGAIN} THEN 0 ELSE calculations.transients END,
                failure_class = CASE WHEN {_AGAIN} THEN NULL ELSE calculations.failure_class END,
                failure_code = CASE WHEN {_AGAIN} THEN NULL ELSE calculations.failure_code END,
                failure_reason = CASE WHEN {_AGAIN} THEN NULL ELSE calculations.failure_reason END,
                state = CASE WHEN {_AGAIN} THEN 'queued' ELSE calculations.state END
            RETURNING {COLUMNS}""",
        (
            uuid4(),
            content_hash,
            level.name,
            levels.keep(connection, level),
            level.queue,
            campaign_id,
            conformer_id,
            charge,
            spin,
            priority,
        ),
    ).fetchone()
    assert row is not None  # INSERT ... DO UPDATE ... RETURNING gives a row or raises
    found = Calculation(**row)
    if found.state == "queued":
        announce(connection, found.id, found.queue, found.priority, source=source)
    return found


def sharing(connection: Connection, calculation_id: UUID) -> list[UUID]:
    """Campaigns that have a candidate waiting for a calculation, in order of their ids."""
    rows = connection.execute(
        """SELECT DISTINCT campaign_id FROM candidates
           WHERE (triage_id = %(id)s AND state = 'selected') OR (certificate_id = %(id)s AND state = 'labelled')
           ORDER BY campaign_id""",
        {"id": calculation_id},
    ).fetchall()
    return [row["campaign_id"] for row in rows]


def release_from(connection: Connection, campaign_id: UUID, calculation_id: UUID) -> None:
    """Cancel a calculation that a campaign does not need any more, unless a candidate of another one waits for it."""
    if all(other == campaign_id for other in sharing(connection, calculation_id)):
        cancel(connection, calculation_id)


def open_of(connection: Connection, campaign_id: UUID) -> list[UUID]:
    """Calculations that candidates of a campaign wait for, locked until the transaction ends."""
    rows = connection.execute(
        f"""SELECT k.id {_WAITED_FOR} AND c.campaign_id = %s AND k.state IN ('queued', 'running')
            ORDER BY k.id FOR UPDATE OF k""",
        (campaign_id,),
    ).fetchall()
    return [row["id"] for row in rows]


def take_over(connection: Connection, campaign_id: UUID) -> None:
    """Let a running campaign own the queued calculations that it shares with campaigns that are paused or have ended."""
    connection.execute(
        f"""UPDATE calculations k SET campaign_id = %(id)s
            WHERE k.state = 'queued' AND k.campaign_id <> %(id)s
              AND k.id IN (SELECT k.id {_WAITED_FOR} AND c.campaign_id = %(id)s)
              AND EXISTS (SELECT 1 FROM campaigns mine WHERE mine.id = %(id)s AND mine.state = 'running')
              AND NOT EXISTS (SELECT 1 FROM campaigns first WHERE first.id = k.campaign_id AND first.state = 'running')""",
        {"id": campaign_id},
    )
