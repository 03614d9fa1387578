"""Long work of a service: a row per unit, claimed under a lease, so that a killed service loses nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from gapsmith.store.database import Connection

MOST_ATTEMPTS = 3


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
    """Add a task; the id is that of the event that asks for it, so that an event makes one task."""
    connection.execute(
        """INSERT INTO tasks (id, service, kind, campaign_id, payload, priority, state)
           VALUES (%s, %s, %s, %s, %s, %s, 'pending') ON CONFLICT DO NOTHING""",
        (task_id, service, kind, campaign_id, Jsonb(dict(payload)), priority),
    )


def claim(
    connection: Connection, service: str, owner: str, lease_s: float, *, one_per: str | None = None
) -> Task | None:
    """Take the most urgent open task of a running campaign; its attempt count is raised before the work starts.

    A task whose lease ran out is taken over; one that was lost ``MOST_ATTEMPTS`` times is set to failed. With ``one_per``,
    a key of the payload, a task waits while another one with the same value is in work.
    """
    if one_per is not None:  # two who look at the same time must not both find nothing in work
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('gapsmith.tasks.' || %s))", (service,))
    connection.execute(
        """UPDATE tasks SET state = 'failed', finished_at = now(),
                  error = 'lost ' || attempts || ' times: the service died while working on it'
           WHERE service = %s AND state = 'running' AND lease_expires_at < now() AND attempts >= %s""",
        (service, MOST_ATTEMPTS),
    )
    row = connection.execute(
        """UPDATE tasks SET state = 'running', attempts = attempts + 1, lease_owner = %s,
                  lease_expires_at = now() + make_interval(secs => %s)
           WHERE id = (SELECT t.id FROM tasks t LEFT JOIN campaigns c ON c.id = t.campaign_id
                       WHERE t.service = %s AND (c.id IS NULL OR c.state = 'running')
                         AND (t.state = 'pending' OR (t.state = 'running' AND t.lease_expires_at < now()))
                         AND NOT EXISTS (
                             SELECT 1 FROM tasks o WHERE o.service = t.service AND o.id <> t.id
                             AND o.state = 'running' AND o.lease_expires_at >= now()
                             AND o.payload ->> %s::text = t.payload ->> %s::text)
                       ORDER BY t.priority DESC, t.created_at LIMIT 1 FOR UPDATE OF t SKIP LOCKED)
           RETURNING id, kind, campaign_id, payload, attempts""",
        (owner, lease_s, service, one_per, one_per),
    ).fetchone()
    return Task(**row) if row else None


def renew(connection: Connection, task_id: UUID, owner: str, lease_s: float) -> bool:
    """Extend a lease; False if it was taken over."""
    row = connection.execute(
        """UPDATE tasks SET lease_expires_at = now() + make_interval(secs => %s)
           WHERE id = %s AND lease_owner = %s AND state = 'running' RETURNING id""",
        (lease_s, task_id, owner),
    ).fetchone()
    return row is not None


def finish(connection: Connection, task_id: UUID, owner: str) -> bool:
    """Close a task in the transaction of its results; False if it was taken over: then roll back."""
    row = connection.execute(
        """UPDATE tasks SET state = 'done', finished_at = now(), lease_expires_at = NULL
           WHERE id = %s AND lease_owner = %s AND state = 'running' RETURNING id""",
        (task_id, owner),
    ).fetchone()
    return row is not None


def fail(connection: Connection, task_id: UUID, owner: str, error: str) -> None:
    """Give a task back after an error, or close it when it has failed ``MOST_ATTEMPTS`` times."""
    connection.execute(
        """UPDATE tasks SET error = %s, lease_expires_at = NULL, lease_owner = NULL,
                  state = CASE WHEN attempts >= %s THEN 'failed' ELSE 'pending' END,
                  finished_at = CASE WHEN attempts >= %s THEN now() END
           WHERE id = %s AND lease_owner = %s AND state = 'running'""",
        (error, MOST_ATTEMPTS, MOST_ATTEMPTS, task_id, owner),
    )


def release(connection: Connection, task_id: UUID, owner: str) -> None:
    """Give a task back undone, without counting the attempt: a clean shutdown."""
    connection.execute(
        """UPDATE tasks SET state = 'pending', attempts = attempts - 1, lease_owner = NULL, lease_expires_at = NULL
           WHERE id = %s AND lease_owner = %s AND state = 'running'""",
        (task_id, owner),
    )


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
