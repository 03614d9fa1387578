"""Calculations: asked for by content, owned by lease, ended in one transaction with the event that tells of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from gapsmith.core.domain import Level
from gapsmith.core.errors import FailureClass
from gapsmith.core.messages import CalculationFinished, CalculationRequested
from gapsmith.store import outbox
from gapsmith.store.database import Connection

MOST_LOSSES = 3  # attempts that took their worker with them, before a calculation is quarantined
MOST_TRANSIENT = 3  # attempts that failed for a passing reason
RETRY_AFTER_S = 5.0


@dataclass(frozen=True)
class Calculation:
    """A row."""

    id: UUID
    level: str
    campaign_id: UUID | None
    conformer_id: UUID
    charge: int
    spin: int
    priority: int
    state: str
    attempts: int
    losses: int
    gap_ev: float | None
    result_conformer_id: UUID | None
    failure_class: str | None
    failure_reason: str | None


@dataclass(frozen=True)
class Result:
    """What a calculation gave."""

    gap_ev: float
    homo_ev: float
    lumo_ev: float
    energy_hartree: float
    dipole_debye: float
    rung: str
    wall_s: float
    cpu_s: float
    software: Mapping[str, str]
    result_conformer_id: UUID | None = None  # of a relaxation
    extra: Mapping[str, Any] = field(default_factory=dict)


_COLUMNS = """id, level, campaign_id, conformer_id, charge, spin, priority, state, attempts, losses, gap_ev,
              result_conformer_id, failure_class, failure_reason"""


def request(
    connection: Connection,
    *,
    content_hash: str,
    level: str,
    conformer_id: UUID,
    campaign_id: UUID | None,
    charge: int = 0,
    spin: int = 0,
    priority: int = 0,
    source: str = "coordinator",
) -> Calculation:
    """Find the calculation of that content, or queue it; the row stays locked until the transaction ends.

    A cancelled one is queued again. One that is done or failed is returned as it is: its result is there already.
    """
    row = connection.execute(
        f"""INSERT INTO calculations (id, content_hash, level, campaign_id, conformer_id, charge, spin, priority, state)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 'queued')
            ON CONFLICT (content_hash) DO UPDATE SET
                priority = greatest(calculations.priority, EXCLUDED.priority),
                campaign_id = CASE WHEN calculations.state = 'cancelled' THEN EXCLUDED.campaign_id
                                   ELSE calculations.campaign_id END,
                finished_at = CASE WHEN calculations.state = 'cancelled' THEN NULL ELSE calculations.finished_at END,
                not_before = CASE WHEN calculations.state = 'cancelled' THEN now() ELSE calculations.not_before END,
                state = CASE WHEN calculations.state = 'cancelled' THEN 'queued' ELSE calculations.state END
            RETURNING {_COLUMNS}""",
        (uuid4(), content_hash, level, campaign_id, conformer_id, charge, spin, priority),
    ).fetchone()
    assert row is not None  # INSERT ... DO UPDATE ... RETURNING gives a row or raises
    found = Calculation(**row)
    if found.state == "queued":
        outbox.emit(connection, CalculationRequested(calculation_id=found.id, priority=found.priority), source=source)
    return found


def get(connection: Connection, calculation_id: UUID) -> Calculation | None:
    """A calculation by id."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM calculations WHERE id = %s", (calculation_id,)).fetchone()
    return Calculation(**row) if row else None


def claim(connection: Connection, owner: str, lease_s: float) -> Calculation | None:
    """Take the most urgent queued calculation; its attempt count is raised before the work starts.

    Those of paused campaigns wait, those of ended ones too. Certificates, which are long, take at most every second
    worker while anything else waits: labels keep coming, and the loop keeps learning.
    """
    row = connection.execute(
        f"""UPDATE calculations SET state = 'running', attempts = attempts + 1, lease_owner = %s, started_at = now(),
                   lease_expires_at = now() + make_interval(secs => %s)
            WHERE id = (SELECT k.id FROM calculations k LEFT JOIN campaigns c ON c.id = k.campaign_id
                        WHERE k.state = 'queued' AND k.not_before <= now() AND (c.id IS NULL OR c.state = 'running')
                        ORDER BY k.level = %s AND (SELECT count(*) FILTER (WHERE r.level = %s) * 2 > count(*)
                                                   FROM calculations r WHERE r.state = 'running'),
                                 k.priority DESC, k.created_at LIMIT 1 FOR UPDATE OF k SKIP LOCKED)
            RETURNING {_COLUMNS}""",
        (owner, lease_s, Level.CERTIFICATE, Level.CERTIFICATE),
    ).fetchone()
    return Calculation(**row) if row else None


def renew(connection: Connection, calculation_id: UUID, owner: str, lease_s: float) -> bool:
    """Extend a lease; False if it was lost or the calculation was cancelled: then the work must stop."""
    row = connection.execute(
        """UPDATE calculations SET lease_expires_at = now() + make_interval(secs => %s)
           WHERE id = %s AND lease_owner = %s AND state = 'running' RETURNING id""",
        (lease_s, calculation_id, owner),
    ).fetchone()
    return row is not None


def finish(connection: Connection, calculation_id: UUID, owner: str, result: Result) -> bool:
    """Store a result and tell of it; False, and nothing stored, if the lease is not held any more."""
    row = connection.execute(
        """UPDATE calculations SET state = 'done', finished_at = now(), lease_expires_at = NULL, gap_ev = %s,
                  homo_ev = %s, lumo_ev = %s, energy_hartree = %s, dipole_debye = %s, rung = %s, wall_s = %s,
                  cpu_s = %s, software = %s, result_conformer_id = %s, result = %s, failure_class = NULL,
                  failure_reason = NULL
           WHERE id = %s AND lease_owner = %s AND state = 'running' RETURNING id""",
        (
            result.gap_ev,
            result.homo_ev,
            result.lumo_ev,
            result.energy_hartree,
            result.dipole_debye,
            result.rung,
            result.wall_s,
            result.cpu_s,
            Jsonb(dict(result.software)),
            result.result_conformer_id,
            Jsonb(dict(result.extra)),
            calculation_id,
            owner,
        ),
    ).fetchone()
    if row is None:
        return False
    _tell(connection, calculation_id, "done", result.gap_ev)
    return True


def fail(
    connection: Connection, calculation_id: UUID, owner: str, failure_class: FailureClass, reason: str
) -> str | None:
    """End an attempt that failed: queued again while its class allows, else failed for good.

    Returns:
        The new state, or None if the lease is not held any more.
    """
    row = connection.execute(
        "SELECT attempts, losses FROM calculations WHERE id = %s AND lease_owner = %s AND state = 'running' FOR UPDATE",
        (calculation_id, owner),
    ).fetchone()
    if row is None:
        return None
    lost = int(row["losses"]) + (failure_class == FailureClass.COMPUTE_LOST)
    again = (failure_class == FailureClass.COMPUTE_LOST and lost < MOST_LOSSES) or (
        failure_class == FailureClass.TRANSIENT and int(row["attempts"]) < MOST_TRANSIENT
    )
    if failure_class == FailureClass.COMPUTE_LOST and not again:
        failure_class, reason = FailureClass.POISON, f"it took its process with it {lost} times; last: {reason}"
    connection.execute(
        """UPDATE calculations SET state = %s, losses = %s, failure_class = %s, failure_reason = %s, lease_owner = NULL,
                  lease_expires_at = NULL, not_before = now() + make_interval(secs => %s),
                  finished_at = CASE WHEN %s THEN NULL ELSE now() END
           WHERE id = %s""",
        (
            "queued" if again else "failed",
            lost,
            failure_class,
            reason,
            RETRY_AFTER_S if again else 0.0,
            again,
            calculation_id,
        ),
    )
    if again:
        outbox.emit(connection, CalculationRequested(calculation_id=calculation_id), source="dft_queue")
        return "queued"
    _tell(connection, calculation_id, "failed", None)
    return "failed"


def release(connection: Connection, calculation_id: UUID, owner: str) -> None:
    """Give a calculation back undone, without counting the attempt: a clean shutdown."""
    connection.execute(
        """UPDATE calculations SET state = 'queued', attempts = attempts - 1, lease_owner = NULL, lease_expires_at = NULL
           WHERE id = %s AND lease_owner = %s AND state = 'running'""",
        (calculation_id, owner),
    )


def sweep(connection: Connection) -> list[UUID]:
    """End the attempts of silent workers: queued again, or quarantined after ``MOST_LOSSES``; ids that were swept."""
    rows = connection.execute(
        """SELECT id, lease_owner FROM calculations WHERE state = 'running' AND lease_expires_at < now()
           FOR UPDATE SKIP LOCKED"""
    ).fetchall()
    for row in rows:
        reason = f"worker {row['lease_owner']} went silent"
        fail(connection, row["id"], row["lease_owner"], FailureClass.COMPUTE_LOST, reason)
    return [row["id"] for row in rows]


def waiting(connection: Connection, older_than_s: float) -> list[UUID]:
    """Queued calculations that have been due for a while: the broker may have forgotten them."""
    rows = connection.execute(
        """SELECT k.id FROM calculations k LEFT JOIN campaigns c ON c.id = k.campaign_id
           WHERE k.state = 'queued' AND greatest(k.not_before, k.created_at) < now() - make_interval(secs => %s)
             AND (c.id IS NULL OR c.state = 'running') ORDER BY k.priority DESC, k.created_at""",
        (older_than_s,),
    ).fetchall()
    return [row["id"] for row in rows]


def cancel(connection: Connection, calculation_id: UUID) -> bool:
    """Cancel a queued or running calculation; its worker notices when it renews its lease. False if it has ended."""
    row = connection.execute(
        """UPDATE calculations SET state = 'cancelled', finished_at = now(), lease_owner = NULL, lease_expires_at = NULL
           WHERE id = %s AND state IN ('queued', 'running') RETURNING id""",
        (calculation_id,),
    ).fetchone()
    return row is not None


def _tell(connection: Connection, calculation_id: UUID, state: str, gap_ev: float | None) -> None:
    event = CalculationFinished(calculation_id=calculation_id, state=state, gap_ev=gap_ev)
    outbox.emit(connection, event, source="dft_queue")
