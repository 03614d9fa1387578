"""Long work of a service: a row per unit, claimed under a lease, so that a killed service loses nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from gapsmith.core.lifecycle import TaskState
from gapsmith.store.database import Connection
from gapsmith.store.leases import Leases

MOST_ATTEMPTS = 3
_LEASES: Final = Leases("tasks", TaskState.PENDING, "id, kind, campaign_id, payload, attempts")
_ERROR: Final = ", error = %(error)s"


@dataclass(frozen=True)
class Task:
    """A claimed unit of work."""

    id: UUID
    kind: str
    campaign_id: UUID | None
    payload: Mapping[str, Any]
    attempts: int


def add(
    connection: Connection,
    task_id: UUID,
    *,
    service: str,
    kind: str,
    payload: Mapping[str, Any],
    campaign_id: UUID | None = None,
    priority: int = 0,
) -> None:
    """Add a task; the id is that of the event that asks for it, so that an event makes one task.

    What is asked for a campaign that has ended is cancelled at once.
    """
    connection.execute(
        """INSERT INTO tasks (id, service, kind, campaign_id, payload, priority, state, finished_at)
           SELECT %s, %s, %s, %s, %s, %s, CASE WHEN ended THEN 'cancelled' ELSE 'pending' END, CASE WHEN ended THEN now() END
           FROM (SELECT EXISTS (SELECT 1 FROM campaigns WHERE id = %s AND state IN ('finished', 'stopped')) AS ended) AS c
           ON CONFLICT DO NOTHING""",
        (task_id, service, kind, campaign_id, Jsonb(dict(payload)), priority, campaign_id),
    )


def cancel(connection: Connection, campaign_id: UUID, *, service: str | None = None) -> None:
    """Cancel what is open of a campaign, of all services or one; who works on it notices when it renews its lease."""
    condition = "campaign_id = %(campaign)s AND (%(service)s::text IS NULL OR service = %(service)s)"
    _LEASES.cancel(connection, condition, campaign=campaign_id, service=service)


def claim(
    connection: Connection, service: str, owner: str, lease_s: float, *, one_per: str | None = None
) -> Task | None:
    """Take the most urgent open task of a running campaign; its attempt count is raised before the work starts.

    A task whose lease ran out is taken over; one that was lost ``MOST_ATTEMPTS`` times is set to failed. With ``one_per``,
    a key of the payload, a task waits while another one with the same value is in work.
    """
    if one_per is not None:  # two who look at the same time must not both find nothing in work
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('gapsmith.tasks.' || %s))", (service,))
    for lost in _LEASES.expired(
        connection, "service = %(service)s AND attempts >= %(most)s", service=service, most=MOST_ATTEMPTS
    ):
        error = f"lost {lost['attempts']} times: the service died while working on it"
        _LEASES.fail(connection, lost["id"], lost["lease_owner"], again=False, changes=_ERROR, error=error)
    row = _LEASES.claim(
        connection,
        owner,
        lease_s,
        """SELECT q.id FROM tasks q LEFT JOIN campaigns c ON c.id = q.campaign_id
           WHERE q.service = %(service)s AND (c.id IS NULL OR c.state = 'running')
             AND (q.state = 'pending' OR (q.state = 'running' AND q.lease_expires_at < now()))
             AND NOT EXISTS (
                 SELECT 1 FROM tasks o WHERE o.service = q.service AND o.id <> q.id
                 AND o.state = 'running' AND o.lease_expires_at >= now()
                 AND o.payload ->> %(one_per)s::text = q.payload ->> %(one_per)s::text)
           ORDER BY q.priority DESC, q.created_at""",
        {"service": service, "one_per": one_per},
    )
    return Task(**row) if row else None


def renew(connection: Connection, task_id: UUID, owner: str, lease_s: float) -> bool:
    """Extend a lease; False if it was taken over or cancelled: then the work must stop."""
    return _LEASES.renew(connection, task_id, owner, lease_s)


def finish(connection: Connection, task_id: UUID, owner: str) -> bool:
    """Close a task in the transaction of its results; False if it was taken over: then roll back."""
    return _LEASES.finish(connection, task_id, owner)


def fail(connection: Connection, task_id: UUID, owner: str, error: str) -> None:
    """Give a task back after an error, or close it when it has failed ``MOST_ATTEMPTS`` times."""
    if (row := _LEASES.held(connection, task_id, owner)) is not None:
        again = row["attempts"] < MOST_ATTEMPTS
        _LEASES.fail(connection, task_id, owner, again=again, changes=_ERROR, error=error)


def release(connection: Connection, task_id: UUID, owner: str) -> None:
    """Give a task back undone, without counting the attempt: a clean shutdown."""
    _LEASES.release(connection, task_id, owner)


def open_ids(connection: Connection, service: str) -> set[UUID]:
    """Of a service's tasks that wait or run."""
    rows = connection.execute("SELECT id FROM tasks WHERE service = %s AND state IN ('pending', 'running')", (service,))
    return {row["id"] for row in rows}


def open_by_service(connection: Connection, campaign_id: UUID | None = None) -> dict[str, int]:
    """How many tasks wait or run, of a campaign or of all."""
    rows = connection.execute(
        """SELECT service, count(*)::int AS n FROM tasks
           WHERE state IN ('pending', 'running') AND (%(campaign)s::uuid IS NULL OR campaign_id = %(campaign)s)
           GROUP BY service ORDER BY service""",
        {"campaign": campaign_id},
    )
    return {row["service"]: row["n"] for row in rows}
