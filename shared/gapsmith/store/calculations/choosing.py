"""Changes of all calculations that a condition selects, each in one statement: again, never mind, sooner."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from gapsmith.store.database import Connection

Row = dict[str, Any]


def queue_again(connection: Connection, where: str, values: Mapping[str, Any]) -> list[Row]:
    """Queue failed and cancelled ones, with fresh budgets of attempts; they keep their campaign unless it has ended."""
    return _change(
        connection,
        f"k.state IN ('failed', 'cancelled') AND {where}",
        """state = 'queued', losses = 0, transients = 0, not_before = now(), finished_at = NULL, failure_class = NULL,
           failure_code = NULL, failure_reason = NULL, campaign_id = (SELECT id FROM campaigns WHERE id = k.campaign_id
                                                 AND state IN ('running', 'paused'))""",
        values,
    )


def give_up(connection: Connection, where: str, values: Mapping[str, Any], reason: str) -> list[Row]:
    """Cancel queued and running ones, their attempts with them."""
    return _change(
        connection,
        f"k.state IN ('queued', 'running') AND {where}",
        """state = 'cancelled', finished_at = now(), lease_owner = NULL, lease_expires_at = NULL, progress = NULL,
           failure_class = NULL, failure_code = NULL, failure_reason = %(why)s""",
        {**values, "why": reason},
        """, ended AS (UPDATE attempts a SET outcome = 'cancelled', reason = %(why)s, ended_at = now()
                       FROM changed WHERE a.calculation_id = changed.id AND a.outcome = 'running')""",
    )


def set_priority(connection: Connection, where: str, values: Mapping[str, Any], priority: int) -> list[Row]:
    """Set the priority of queued and running ones."""
    condition = f"k.state IN ('queued', 'running') AND {where}"
    return _change(connection, condition, "priority = %(new_priority)s", {**values, "new_priority": priority})


def disown(connection: Connection, ids: Sequence[UUID]) -> None:
    """Let queued ones of campaigns that do not run wait for those no longer."""
    connection.execute(
        """UPDATE calculations k SET campaign_id = NULL WHERE k.id = ANY(%s) AND k.state = 'queued'
           AND EXISTS (SELECT 1 FROM campaigns g WHERE g.id = k.campaign_id AND g.state <> 'running')""",
        (list(ids),),
    )


def deletable(connection: Connection, where: str, values: Mapping[str, Any]) -> tuple[list[UUID], int, int]:
    """Lock what a condition selects: ids that may be deleted, and how many run or belong to campaigns' candidates."""
    rows = connection.execute(
        f"""SELECT k.id, k.state = 'running' AS running,
                   EXISTS (SELECT 1 FROM candidates c WHERE c.triage_id = k.id)
                   OR EXISTS (SELECT 1 FROM candidates c WHERE c.certificate_id = k.id) AS shared
            FROM calculations k WHERE {where} ORDER BY k.id FOR UPDATE""",
        values,
    ).fetchall()
    free = [row["id"] for row in rows if not row["running"] and not row["shared"]]
    running = sum(row["running"] for row in rows)
    return free, running, len(rows) - running - len(free)


def of_campaign_alone(connection: Connection, campaign_id: UUID, ids: Sequence[UUID]) -> tuple[list[UUID], int]:
    """Calculations that a campaign, whose candidates are gone and had these, asked for first and that no other one has.

    The others no longer belong to it. Returns the ids and how many of ``ids`` others use.
    """
    free, _, _ = deletable(connection, "k.campaign_id = %(campaign)s", {"campaign": campaign_id})
    connection.execute(
        "UPDATE calculations SET campaign_id = NULL WHERE campaign_id = %s AND NOT id = ANY(%s)", (campaign_id, free)
    )
    return free, len(set(ids) - set(free))


def delete(connection: Connection, ids: Sequence[UUID]) -> list[UUID]:
    """Delete calculations with their attempts and files; returns the geometries that they had."""
    rows = connection.execute(
        "DELETE FROM calculations WHERE id = ANY(%s) RETURNING conformer_id, result_conformer_id", (list(ids),)
    ).fetchall()
    return [found for row in rows for found in row.values() if found is not None]


def _change(
    connection: Connection, where: str, assignments: str, values: Mapping[str, Any], along: str = ""
) -> list[Row]:
    """Change the calculations ``k`` that a condition selects: their ids, queues and priorities.

    Campaigns are locked first and calculations in order of their ids, as everyone does, so that nobody waits in a circle.
    """
    connection.execute("SELECT 1 FROM campaigns WHERE state IN ('running', 'paused') ORDER BY id FOR NO KEY UPDATE")
    return connection.execute(
        f"""WITH chosen AS (SELECT k.id FROM calculations k WHERE {where} ORDER BY k.id FOR UPDATE),
                 changed AS (UPDATE calculations k SET {assignments} FROM chosen WHERE k.id = chosen.id
                             RETURNING k.id, k.queue, k.priority){along}
            SELECT id, queue, priority FROM changed""",
        values,
    ).fetchall()
