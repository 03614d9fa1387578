"""What the end of a calculation means for the candidates that wait for it; every statement may run twice."""

from uuid import UUID

from gapsmith.store import calculations
from gapsmith.store.database import Connection

_TRIAGE = "FROM calculations k WHERE c.campaign_id = %s AND c.state = 'selected' AND k.id = c.triage_id"
_CERTIFICATE = "FROM calculations k WHERE c.campaign_id = %s AND c.state = 'labelled' AND k.id = c.certificate_id"
_OUTCOMES = (
    f"""UPDATE candidates c SET state = 'labelled', gap_ev = k.gap_ev, reason = NULL, updated_at = now()
        {_TRIAGE} AND k.state = 'done'""",
    f"""UPDATE candidates c SET state = 'failed', reason = concat_ws(': ', k.failure_class, k.failure_reason),
               updated_at = now()
        {_TRIAGE} AND k.state = 'failed'""",
    # cancelled for another campaign's sake: this campaign may choose it again (what a user cancels is withdrawn by then)
    f"""UPDATE candidates c SET state = 'scored', triage_id = NULL, updated_at = now()
        {_TRIAGE} AND k.state = 'cancelled'""",
    f"""UPDATE candidates c SET state = 'certified', certified_gap_ev = k.gap_ev, reason = NULL, updated_at = now(),
               certified_conformer_id = k.result_conformer_id
        {_CERTIFICATE} AND k.state = 'done' AND k.rearranged IS NULL""",
    f"""UPDATE candidates c SET reason = 'certificate: the molecule rearranged: ' || k.rearranged, updated_at = now()
        {_CERTIFICATE} AND k.state = 'done' AND k.rearranged IS NOT NULL AND c.reason IS NULL""",
    f"""UPDATE candidates c SET updated_at = now(),
               reason = concat_ws(': ', 'certificate failed', k.failure_class, k.failure_reason)
        {_CERTIFICATE} AND k.state = 'failed' AND c.reason IS NULL""",
    f"""UPDATE candidates c SET certificate_id = NULL, updated_at = now()
        {_CERTIFICATE} AND k.state = 'cancelled' AND c.reason IS NULL""",
)

# Calculations of campaigns that are paused or have ended wait. Who shares one and runs takes it over.
_ADOPT = """
    UPDATE calculations k SET campaign_id = c.campaign_id
    FROM candidates c JOIN campaigns mine ON mine.id = c.campaign_id
    WHERE c.campaign_id = %s AND mine.state = 'running' AND c.state IN ('selected', 'labelled')
      AND k.id = CASE c.state WHEN 'selected' THEN c.triage_id ELSE c.certificate_id END
      AND k.state = 'queued' AND k.campaign_id <> c.campaign_id
      AND NOT EXISTS (SELECT 1 FROM campaigns first WHERE first.id = k.campaign_id AND first.state = 'running')"""

_OPEN = """
    SELECT c.id, k.id AS calculation_id FROM candidates c
    JOIN calculations k ON k.id = CASE c.state WHEN 'selected' THEN c.triage_id ELSE c.certificate_id END
    WHERE c.campaign_id = %s AND c.state IN ('selected', 'labelled') AND k.state IN ('queued', 'running')
    ORDER BY k.id FOR UPDATE OF k"""


def sharing(connection: Connection, calculation_id: UUID) -> list[UUID]:
    """Campaigns that have a candidate waiting for a calculation, in order of their ids."""
    rows = connection.execute(
        """SELECT DISTINCT campaign_id FROM candidates
           WHERE (triage_id = %(id)s AND state = 'selected') OR (certificate_id = %(id)s AND state = 'labelled')
           ORDER BY campaign_id""",
        {"id": calculation_id},
    ).fetchall()
    return [row["campaign_id"] for row in rows]


def settle(connection: Connection, campaign_id: UUID) -> None:
    """Give a campaign's candidates the results of calculations that have ended."""
    for statement in (*_OUTCOMES, _ADOPT):
        connection.execute(statement, (campaign_id,))


def abandon(connection: Connection, campaign_id: UUID, reason: str) -> None:
    """Take back everything that is still open: the campaign has ended. What another campaign waits for goes on."""
    rows = connection.execute(_OPEN, (campaign_id,)).fetchall()
    settle(connection, campaign_id)
    for row in rows:
        release(connection, campaign_id, row["calculation_id"])
    connection.execute(
        """UPDATE candidates SET state = 'withdrawn', reason = %s, updated_at = now()
           WHERE campaign_id = %s AND state = 'selected'""",
        (reason, campaign_id),
    )
    connection.execute(
        """UPDATE candidates SET reason = %s, updated_at = now()
           WHERE campaign_id = %s AND state = 'labelled' AND certificate_id = ANY(%s)""",
        (f"certificate withdrawn: {reason}", campaign_id, [row["calculation_id"] for row in rows]),
    )


def release(connection: Connection, campaign_id: UUID, calculation_id: UUID) -> None:
    """Cancel a calculation unless a candidate of another campaign waits for it too."""
    if all(other == campaign_id for other in sharing(connection, calculation_id)):
        calculations.cancel(connection, calculation_id)
