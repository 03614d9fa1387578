"""Calculations are owned by lease, and ended in one transaction with the event that tells of it."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final
from uuid import UUID

from psycopg.types.json import Jsonb

from gapsmith.core import properties
from gapsmith.core.domain import Level
from gapsmith.core.errors import CalculationError, FailureClass, FailureCode
from gapsmith.core.lifecycle import CalculationState
from gapsmith.core.messages import CalculationFinished, CalculationRequested
from gapsmith.store import attempts, outbox
from gapsmith.store.calculations.rows import COLUMNS, Calculation, Result
from gapsmith.store.database import Connection
from gapsmith.store.leases import Leases

# Attempts of a calculation that may fail for a reason of a class. What chemistry or a broken input decided is final.
BUDGET: Final = {FailureClass.TRANSIENT: 4, FailureClass.COMPUTE_LOST: 3}
RETRY_AFTER_S: Final = 5.0  # tripled with every failure that passes
_LEASES: Final = Leases("calculations", CalculationState.QUEUED, COLUMNS, free=", progress = NULL")
_RESULT: Final = (  # columns that are called like fields of ``Result``
    "energy_hartree",
    "gap_ev",
    "homo_ev",
    "lumo_ev",
    "dipole_debye",
    "rung",
    "wall_s",
    "cpu_s",
    "host",
    "result_conformer_id",
    "rearranged",
)


def claim(
    connection: Connection,
    owner: str,
    lease_s: float,
    *,
    queues: Sequence[str] = ("dft", "xtb"),
    host: str = "localhost",
) -> Calculation | None:
    """Take the most urgent queued calculation; its attempt is counted and written down before the work starts.

    Those of paused campaigns wait, those of ended ones too. Certificates, which are long, take at most every second
    worker while anything else waits: labels keep coming, and the loop keeps learning. A host on which one calculation after
    another was lost gets none for a while (``attempts.suspended``).
    """
    if attempts.suspended(connection, host) is not None:
        return None
    row = _LEASES.claim(
        connection,
        owner,
        lease_s,
        """SELECT q.id FROM calculations q LEFT JOIN campaigns c ON c.id = q.campaign_id
           WHERE q.state = 'queued' AND q.queue = ANY(%(queues)s) AND q.not_before <= now()
             AND (c.id IS NULL OR c.state = 'running')
           ORDER BY q.level = %(certificate)s AND (SELECT count(*) FILTER (WHERE r.level = %(certificate)s) * 2 > count(*)
                                                   FROM calculations r WHERE r.state = 'running'),
                    q.priority DESC, q.created_at""",
        {"queues": list(queues), "certificate": Level.CERTIFICATE},
    )
    if row is None:
        return None
    attempts.begin(connection, row["id"], owner, host)
    return Calculation(**row)


def renew(
    connection: Connection, calculation_id: UUID, owner: str, lease_s: float, progress: str | None = None
) -> bool:
    """Extend a lease; False if it was lost or the calculation was cancelled: then the work must stop."""
    changes = ", progress = coalesce(%(progress)s, progress)"
    return _LEASES.renew(connection, calculation_id, owner, lease_s, changes, progress=progress)


def finish(connection: Connection, calculation_id: UUID, owner: str, result: Result, log_tail: str = "") -> bool:
    """Store a result and tell of it; False, and nothing stored, if the lease is not held any more."""
    values = {
        **{name: getattr(result, name) for name in _RESULT},
        "software": Jsonb(dict(result.software)),
        "findings": list(result.findings),
        "result": Jsonb(dict(result.extra)),
        "properties": Jsonb(properties.computed({**asdict(result), **result.extra})),
    }
    changes = "".join(f", {name} = %({name})s" for name in values)
    changes += ", failure_class = NULL, failure_code = NULL, failure_reason = NULL"
    if not _LEASES.finish(connection, calculation_id, owner, changes, **values):
        return False
    attempts.end(connection, calculation_id, "done", rung=result.rung, cpu_s=result.cpu_s, log_tail=log_tail)
    _tell(connection, calculation_id, "done")
    return True


def fail(
    connection: Connection,
    calculation_id: UUID,
    owner: str,
    failure: CalculationError,
    log_tail: str = "",
) -> str | None:
    """End an attempt that failed: queued again while its class's budget lasts, else failed for good.

    Returns:
        The new state, or None if the lease is not held any more.
    """
    row = _LEASES.held(connection, calculation_id, owner)
    if row is None:
        return None
    failure_class, reason = failure.failure_class, failure.reason
    lost = failure_class == FailureClass.COMPUTE_LOST
    attempts.end(connection, calculation_id, "lost" if lost else "failed", failure=failure, log_tail=log_tail)
    losses, transients = row["losses"] + lost, row["transients"] + (failure_class == FailureClass.TRANSIENT)
    spent = losses if lost else transients
    again = spent < BUDGET.get(failure_class, 0)
    if lost and not again:
        failure_class, reason = FailureClass.POISON, f"it took its process with it {losses} times; last: {reason}"
    elif failure_class == FailureClass.TRANSIENT and not again:
        reason = f"{reason} (for the {spent}th time)"
    _LEASES.fail(
        connection,
        calculation_id,
        owner,
        again=again,
        changes=""", losses = %(losses)s, transients = %(transients)s, failure_class = %(failure_class)s,
                   failure_code = %(code)s, failure_reason = %(reason)s,
                   not_before = now() + make_interval(secs => %(wait_s)s)""",
        losses=losses,
        transients=transients,
        failure_class=failure_class,
        code=failure.failure_code,
        reason=reason,
        wait_s=RETRY_AFTER_S * 3 ** (spent - 1) if again else 0.0,
    )
    if again:
        announce(connection, calculation_id, row["queue"], row["priority"])
        return "queued"
    _tell(connection, calculation_id, "failed")
    return "failed"


def release(connection: Connection, calculation_id: UUID, owner: str) -> None:
    """Give a calculation back undone, without counting the attempt: a clean shutdown."""
    row = _LEASES.release(connection, calculation_id, owner)
    if row is not None:
        attempts.end(connection, calculation_id, "released", reason="the worker was told to end")
        announce(connection, calculation_id, row["queue"], row["priority"])


def sweep(connection: Connection) -> list[UUID]:
    """End the attempts of silent workers: queued again, or quarantined when their budget is spent; ids that were swept."""
    rows = _LEASES.expired(connection)
    for row in rows:
        at = f"; it was at: {row['progress']}" if row["progress"] else ""
        reason = f"worker {row['lease_owner']} went silent{at}"
        silent = CalculationError(FailureClass.COMPUTE_LOST, reason, FailureCode.PROCESS)
        fail(connection, row["id"], row["lease_owner"], silent)
    return [row["id"] for row in rows]


def cancel(connection: Connection, calculation_id: UUID) -> bool:
    """Cancel a queued or running calculation; its worker notices when it renews its lease. False if it has ended."""
    if not _LEASES.cancel(connection, "id = %(id)s", id=calculation_id):
        return False
    attempts.end(connection, calculation_id, "cancelled", reason="cancelled while it ran")
    _tell(connection, calculation_id, "cancelled")
    return True


def _tell(connection: Connection, calculation_id: UUID, state: str) -> None:
    outbox.emit(connection, CalculationFinished(calculation_id=calculation_id, state=state), source="dft_queue")


def announce(
    connection: Connection, calculation_id: UUID, queue: str, priority: int = 0, *, source: str = "dft_queue"
) -> None:
    """Tell that a calculation waits, so that a worker is woken."""
    event = CalculationRequested(calculation_id=calculation_id, queue=queue, priority=priority)
    outbox.emit(connection, event, source=source)
