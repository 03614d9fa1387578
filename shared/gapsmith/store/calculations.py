"""Calculations: asked for by content, owned by lease, ended in one transaction with the event that tells of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from gapsmith.core.domain import Level
from gapsmith.core.errors import FailureClass
from gapsmith.core.levels import LevelOfTheory
from gapsmith.core.messages import CalculationFinished, CalculationRequested
from gapsmith.store import attempts, levels, outbox
from gapsmith.store.database import Connection

# Attempts of a calculation that may fail for a reason of a class. What chemistry or a broken input decided is final.
BUDGET: Final = {FailureClass.TRANSIENT: 4, FailureClass.COMPUTE_LOST: 3}
RETRY_AFTER_S: Final = 5.0  # tripled with every failure that passes


@dataclass(frozen=True)
class Calculation:
    """A row."""

    id: UUID
    level: str
    level_version: str
    queue: str
    campaign_id: UUID | None
    conformer_id: UUID
    charge: int
    spin: int
    priority: int
    state: str
    attempts: int
    losses: int
    transients: int
    gap_ev: float | None
    result_conformer_id: UUID | None
    failure_class: str | None
    failure_reason: str | None


@dataclass(frozen=True)
class Result:
    """What a calculation gave. None stands for what its level does not give."""

    energy_hartree: float
    gap_ev: float | None
    homo_ev: float | None
    lumo_ev: float | None
    dipole_debye: float | None
    rung: str | None
    wall_s: float
    cpu_s: float
    host: str
    software: Mapping[str, str]
    result_conformer_id: UUID | None = None  # of a relaxation
    rearranged: str | None = None
    findings: Sequence[str] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


_COLUMNS = """id, level, level_version, queue, campaign_id, conformer_id, charge, spin, priority, state, attempts, losses,
              transients, gap_ev, result_conformer_id, failure_class, failure_reason"""


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

    A cancelled one is queued again. One that is done or failed is returned as it is: its result is there already.
    """
    row = connection.execute(
        f"""INSERT INTO calculations (id, content_hash, level, level_version, queue, campaign_id, conformer_id, charge, spin,
                                      priority, state)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'queued')
            ON CONFLICT (content_hash) DO UPDATE SET
                priority = greatest(calculations.priority, EXCLUDED.priority),
                campaign_id = CASE WHEN calculations.state = 'cancelled' THEN EXCLUDED.campaign_id
                                   ELSE calculations.campaign_id END,
                finished_at = CASE WHEN calculations.state = 'cancelled' THEN NULL ELSE calculations.finished_at END,
                not_before = CASE WHEN calculations.state = 'cancelled' THEN now() ELSE calculations.not_before END,
                state = CASE WHEN calculations.state = 'cancelled' THEN 'queued' ELSE calculations.state END
            RETURNING {_COLUMNS}""",
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


@dataclass(frozen=True)
class Outcome:
    """What an ended calculation came to."""

    id: UUID
    state: str
    homo_ev: float | None
    lumo_ev: float | None
    energy_hartree: float | None
    dipole_debye: float | None
    mulliken_e: Sequence[float] | None
    rung: str | None
    cpu_s: float | None
    software: Mapping[str, str] | None
    failure_class: str | None
    failure_reason: str | None


def outcomes(connection: Connection, ids: Sequence[UUID]) -> list[Outcome]:
    """Those of the given calculations that have ended."""
    rows = connection.execute(
        """SELECT id, state, homo_ev, lumo_ev, energy_hartree, dipole_debye, result->'mulliken_e' AS mulliken_e, rung, cpu_s,
                  software, failure_class, failure_reason
           FROM calculations WHERE id = ANY(%s) AND state IN ('done', 'failed', 'cancelled')""",
        (list(ids),),
    ).fetchall()
    return [Outcome(**row) for row in rows]


def announce(
    connection: Connection, calculation_id: UUID, queue: str, priority: int = 0, *, source: str = "dft_queue"
) -> None:
    """Tell that a calculation waits, so that a worker is woken."""
    event = CalculationRequested(calculation_id=calculation_id, queue=queue, priority=priority)
    outbox.emit(connection, event, source=source)


def get(connection: Connection, calculation_id: UUID) -> Calculation | None:
    """A calculation by id."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM calculations WHERE id = %s", (calculation_id,)).fetchone()
    return Calculation(**row) if row else None


def conformers(connection: Connection, content_hashes: Sequence[str]) -> dict[str, UUID]:
    """The conformers that calculations of some contents start from, of those that there are."""
    rows = connection.execute(
        "SELECT content_hash, conformer_id FROM calculations WHERE content_hash = ANY(%s)", (list(content_hashes),)
    )
    return {row["content_hash"]: row["conformer_id"] for row in rows}


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
    row = connection.execute(
        f"""UPDATE calculations SET state = 'running', attempts = attempts + 1, lease_owner = %s, started_at = now(),
                   lease_expires_at = now() + make_interval(secs => %s), progress = NULL
            WHERE id = (SELECT k.id FROM calculations k LEFT JOIN campaigns c ON c.id = k.campaign_id
                        WHERE k.state = 'queued' AND k.queue = ANY(%s) AND k.not_before <= now()
                          AND (c.id IS NULL OR c.state = 'running')
                        ORDER BY k.level = %s AND (SELECT count(*) FILTER (WHERE r.level = %s) * 2 > count(*)
                                                   FROM calculations r WHERE r.state = 'running'),
                                 k.priority DESC, k.created_at LIMIT 1 FOR UPDATE OF k SKIP LOCKED)
            RETURNING {_COLUMNS}""",
        (owner, lease_s, list(queues), Level.CERTIFICATE, Level.CERTIFICATE),
    ).fetchone()
    if row is None:
        return None
    attempts.begin(connection, row["id"], owner, host)
    return Calculation(**row)


def renew(
    connection: Connection, calculation_id: UUID, owner: str, lease_s: float, progress: str | None = None
) -> bool:
    """Extend a lease; False if it was lost or the calculation was cancelled: then the work must stop."""
    row = connection.execute(
        """UPDATE calculations SET lease_expires_at = now() + make_interval(secs => %s), progress = coalesce(%s, progress)
           WHERE id = %s AND lease_owner = %s AND state = 'running' RETURNING id""",
        (lease_s, progress, calculation_id, owner),
    ).fetchone()
    return row is not None


def finish(connection: Connection, calculation_id: UUID, owner: str, result: Result, log_tail: str = "") -> bool:
    """Store a result and tell of it; False, and nothing stored, if the lease is not held any more."""
    row = connection.execute(
        """UPDATE calculations SET state = 'done', finished_at = now(), lease_expires_at = NULL, progress = NULL, gap_ev = %s,
                  homo_ev = %s, lumo_ev = %s, energy_hartree = %s, dipole_debye = %s, rung = %s, wall_s = %s,
                  cpu_s = %s, host = %s, software = %s, result_conformer_id = %s, rearranged = %s, findings = %s,
                  result = %s, failure_class = NULL, failure_reason = NULL
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
            result.host,
            Jsonb(dict(result.software)),
            result.result_conformer_id,
            result.rearranged,
            list(result.findings),
            Jsonb(dict(result.extra)),
            calculation_id,
            owner,
        ),
    ).fetchone()
    if row is None:
        return False
    attempts.end(connection, calculation_id, "done", rung=result.rung, cpu_s=result.cpu_s, log_tail=log_tail)
    _tell(connection, calculation_id, "done", result.gap_ev)
    return True


def fail(
    connection: Connection,
    calculation_id: UUID,
    owner: str,
    failure_class: FailureClass,
    reason: str,
    log_tail: str = "",
) -> str | None:
    """End an attempt that failed: queued again while its class's budget lasts, else failed for good.

    Returns:
        The new state, or None if the lease is not held any more.
    """
    row = connection.execute(
        """SELECT losses, transients, queue, priority FROM calculations
           WHERE id = %s AND lease_owner = %s AND state = 'running' FOR UPDATE""",
        (calculation_id, owner),
    ).fetchone()
    if row is None:
        return None
    lost = failure_class == FailureClass.COMPUTE_LOST
    attempts.end(
        connection,
        calculation_id,
        "lost" if lost else "failed",
        failure_class=failure_class,
        reason=reason,
        log_tail=log_tail,
    )
    losses, transients = row["losses"] + lost, row["transients"] + (failure_class == FailureClass.TRANSIENT)
    spent = losses if lost else transients
    again = spent < BUDGET.get(failure_class, 0)
    if lost and not again:
        failure_class, reason = FailureClass.POISON, f"it took its process with it {losses} times; last: {reason}"
    elif failure_class == FailureClass.TRANSIENT and not again:
        reason = f"{reason} (for the {spent}th time)"
    connection.execute(
        """UPDATE calculations SET state = %s, losses = %s, transients = %s, failure_class = %s, failure_reason = %s,
                  lease_owner = NULL, lease_expires_at = NULL, progress = NULL,
                  not_before = now() + make_interval(secs => %s), finished_at = CASE WHEN %s THEN NULL ELSE now() END
           WHERE id = %s""",
        (
            "queued" if again else "failed",
            losses,
            transients,
            failure_class,
            reason,
            RETRY_AFTER_S * 3 ** (spent - 1) if again else 0.0,
            again,
            calculation_id,
        ),
    )
    if again:
        announce(connection, calculation_id, row["queue"], row["priority"])
        return "queued"
    _tell(connection, calculation_id, "failed", None)
    return "failed"


def release(connection: Connection, calculation_id: UUID, owner: str) -> None:
    """Give a calculation back undone, without counting the attempt: a clean shutdown."""
    row = connection.execute(
        """UPDATE calculations SET state = 'queued', attempts = attempts - 1, lease_owner = NULL, lease_expires_at = NULL,
                  progress = NULL
           WHERE id = %s AND lease_owner = %s AND state = 'running' RETURNING queue, priority""",
        (calculation_id, owner),
    ).fetchone()
    if row is not None:
        attempts.end(connection, calculation_id, "released", reason="the worker was told to end")
        announce(connection, calculation_id, row["queue"], row["priority"])


def sweep(connection: Connection) -> list[UUID]:
    """End the attempts of silent workers: queued again, or quarantined when their budget is spent; ids that were swept."""
    rows = connection.execute(
        """SELECT id, lease_owner, progress FROM calculations WHERE state = 'running' AND lease_expires_at < now()
           FOR UPDATE SKIP LOCKED"""
    ).fetchall()
    for row in rows:
        at = f"; it was at: {row['progress']}" if row["progress"] else ""
        reason = f"worker {row['lease_owner']} went silent{at}"
        fail(connection, row["id"], row["lease_owner"], FailureClass.COMPUTE_LOST, reason)
    return [row["id"] for row in rows]


def waiting(connection: Connection, older_than_s: float) -> list[tuple[UUID, str]]:
    """Queued calculations that have been due for a while, and their queues: the broker may have forgotten them."""
    rows = connection.execute(
        """SELECT k.id, k.queue FROM calculations k LEFT JOIN campaigns c ON c.id = k.campaign_id
           WHERE k.state = 'queued' AND greatest(k.not_before, k.created_at) < now() - make_interval(secs => %s)
             AND (c.id IS NULL OR c.state = 'running') ORDER BY k.priority DESC, k.created_at LIMIT 10000""",
        (older_than_s,),
    ).fetchall()
    return [(row["id"], row["queue"]) for row in rows]


def cancel(connection: Connection, calculation_id: UUID) -> bool:
    """Cancel a queued or running calculation; its worker notices when it renews its lease. False if it has ended."""
    row = connection.execute(
        """UPDATE calculations SET state = 'cancelled', finished_at = now(), lease_owner = NULL, lease_expires_at = NULL,
                  progress = NULL
           WHERE id = %s AND state IN ('queued', 'running') RETURNING id""",
        (calculation_id,),
    ).fetchone()
    if row is None:
        return False
    attempts.end(connection, calculation_id, "cancelled", reason="cancelled while it ran")
    _tell(connection, calculation_id, "cancelled", None)
    return True


def _tell(connection: Connection, calculation_id: UUID, state: str, gap_ev: float | None) -> None:
    event = CalculationFinished(calculation_id=calculation_id, state=state, gap_ev=gap_ev)
    outbox.emit(connection, event, source="dft_queue")
