"""Attempts at calculations, a row each; and which hosts lose one calculation after another."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gapsmith.core.errors import CalculationError
from gapsmith.store.database import Connection

BAD_IN_A_ROW: Final = 5  # attempts on a host that were lost or failed for a passing reason, one after another ...
OF_CALCULATIONS: Final = 3  # ... of at least so many calculations: one bad molecule does not close a host
COOL_DOWN_S: Final = 60.0


@dataclass(frozen=True)
class Attempt:
    """A row."""

    owner: str
    host: str
    outcome: str  # running, done, failed, lost, released or cancelled
    failure_class: str | None
    failure_code: str | None
    reason: str | None
    rung: str | None
    log_tail: str | None
    cpu_s: float | None
    started_at: datetime
    ended_at: datetime | None


def begin(connection: Connection, calculation_id: UUID, owner: str, host: str) -> None:
    """Write down that an attempt starts."""
    connection.execute(
        "INSERT INTO attempts (calculation_id, owner, host) VALUES (%s, %s, %s)", (calculation_id, owner, host)
    )


def end(
    connection: Connection,
    calculation_id: UUID,
    outcome: str,
    *,
    failure: CalculationError | None = None,
    reason: str | None = None,
    rung: str | None = None,
    log_tail: str = "",
    cpu_s: float | None = None,
) -> None:
    """Write down how the running attempt ended, and why: by a failure or for another reason."""
    connection.execute(
        """UPDATE attempts SET outcome = %s, failure_class = %s, failure_code = %s, reason = %s, rung = %s,
                  log_tail = nullif(%s, ''), cpu_s = %s, ended_at = now()
           WHERE calculation_id = %s AND outcome = 'running'""",
        (
            outcome,
            failure and failure.failure_class,
            failure and failure.failure_code,
            failure.reason if failure else reason,
            rung,
            log_tail,
            cpu_s,
            calculation_id,
        ),
    )


def of(connection: Connection, calculation_ids: Sequence[UUID]) -> dict[UUID, list[Attempt]]:
    """All attempts at each calculation that had any, oldest first."""
    rows = connection.execute(
        """SELECT calculation_id, owner, host, outcome, failure_class, failure_code, reason, rung, log_tail, cpu_s,
                  started_at, ended_at FROM attempts WHERE calculation_id = ANY(%s) ORDER BY id""",
        (list(calculation_ids),),
    ).fetchall()
    found: dict[UUID, list[Attempt]] = defaultdict(list)
    for row in rows:
        found[row.pop("calculation_id")].append(Attempt(**row))
    return found


def suspended(connection: Connection, host: str) -> datetime | None:
    """Until when a host gets no calculation; None if it may have one.

    Its last ``BAD_IN_A_ROW`` attempts were lost or failed for a passing reason, of different calculations: the fault is the
    host's. After ``COOL_DOWN_S`` it may try one at a time; the first that does not fail opens it again.
    """
    row: dict[str, Any] | None = connection.execute(
        """WITH last AS (SELECT calculation_id, outcome, failure_class, ended_at FROM attempts
                         WHERE host = %(host)s AND outcome IN ('done', 'failed', 'lost') ORDER BY ended_at DESC LIMIT %(n)s)
           SELECT count(*) FILTER (WHERE outcome = 'lost' OR failure_class = 'transient') AS bad,
                  count(DISTINCT calculation_id) AS calculations,
                  max(ended_at) + make_interval(secs => %(cool)s) AS until,
                  max(ended_at) + make_interval(secs => %(cool)s) > now() AS cooling,
                  EXISTS (SELECT 1 FROM attempts r WHERE r.host = %(host)s AND r.outcome = 'running') AS trying
           FROM last""",
        {"host": host, "n": BAD_IN_A_ROW, "cool": COOL_DOWN_S},
    ).fetchone()
    if row is None or row["bad"] < BAD_IN_A_ROW or row["calculations"] < OF_CALCULATIONS:
        return None
    until: datetime = row["until"]
    return until if row["cooling"] or row["trying"] else None
