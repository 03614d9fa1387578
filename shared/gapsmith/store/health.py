"""How the system fares: services, events that wait, dead letters, the database, hosts that compute."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from gapsmith.store import attempts, heartbeats, jobs, outbox
from gapsmith.store.database import Connection
from gapsmith.store.heartbeats import Beat
from gapsmith.store.jobs import JobFilter, JobState
from gapsmith.store.outbox import Backlog

LETTERS: Final = 50


@dataclass(frozen=True)
class Consumer:
    """A service's way through the events."""

    name: str
    handled: int  # of the events that are kept
    newest_at: datetime | None
    open_tasks: int
    failed_tasks: int


@dataclass(frozen=True)
class DeadLetter:
    """An event that a service could not handle."""

    event_id: UUID
    consumer: str
    reason: str
    at: datetime
    type: str | None
    sequence: int | None


@dataclass(frozen=True)
class Table:
    """A table and its size on disk, indexes included."""

    name: str
    rows: int  # estimated
    bytes: int


@dataclass(frozen=True)
class Server:
    """The database server."""

    version: str
    revision: str  # of the schema
    connections: int
    bytes: int


@dataclass(frozen=True)
class Host:
    """A machine that computed lately."""

    name: str
    running: int
    done: int
    failed: int
    suspended_until: datetime | None


@dataclass(frozen=True)
class Health:
    """Everything at one moment."""

    beats: Sequence[Beat]
    consumers: Sequence[Consumer]
    backlog: Backlog
    server: Server
    tables: Sequence[Table]
    hosts: Sequence[Host]
    calculations: Mapping[JobState, int]


def health(connection: Connection) -> Health:
    """Look at everything."""
    return Health(
        beats=heartbeats.listed(connection),
        consumers=consumers(connection),
        backlog=outbox.backlog(connection),
        server=server(connection),
        tables=_tables(connection),
        hosts=_hosts(connection),
        calculations=jobs.counts(connection, JobFilter()),
    )


def consumers(connection: Connection) -> list[Consumer]:
    """Who handles events."""
    rows = connection.execute(
        """SELECT i.consumer AS name, count(*)::int AS handled, max(i.handled_at) AS newest_at,
                  (SELECT count(*) FROM tasks t WHERE t.service = i.consumer AND t.state IN ('pending', 'running'))::int
                      AS open_tasks,
                  (SELECT count(*) FROM tasks t WHERE t.service = i.consumer AND t.state = 'failed')::int AS failed_tasks
           FROM inbox i GROUP BY i.consumer ORDER BY i.consumer"""
    ).fetchall()
    return [Consumer(**row) for row in rows]


def letters(connection: Connection) -> list[DeadLetter]:
    """The newest dead letters."""
    rows = connection.execute(
        """SELECT i.event_id, i.consumer, i.error AS reason, i.handled_at AS at, o.type, o.sequence
           FROM inbox i LEFT JOIN outbox o ON o.id = i.event_id
           WHERE i.error IS NOT NULL ORDER BY i.handled_at DESC LIMIT %s""",
        (LETTERS,),
    ).fetchall()
    return [DeadLetter(**row) for row in rows]


def server(connection: Connection) -> Server:
    """The database server."""
    row = connection.execute(
        """SELECT current_setting('server_version') AS version, (SELECT version_num FROM alembic_version) AS revision,
                  (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database())::int AS connections,
                  pg_database_size(current_database()) AS bytes"""
    ).fetchone()
    assert row is not None  # it has no FROM
    return Server(**row)


def _tables(connection: Connection) -> list[Table]:
    rows = connection.execute(
        """SELECT relname AS name, greatest(reltuples, 0)::bigint AS rows, pg_total_relation_size(oid) AS bytes
           FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY bytes DESC LIMIT 8"""
    ).fetchall()
    return [Table(**row) for row in rows]


def _hosts(connection: Connection) -> list[Host]:
    rows = connection.execute(
        """SELECT host AS name, count(*) FILTER (WHERE outcome = 'running')::int AS running,
                  count(*) FILTER (WHERE outcome = 'done')::int AS done,
                  count(*) FILTER (WHERE outcome IN ('failed', 'lost'))::int AS failed
           FROM attempts WHERE started_at > now() - interval '1 day' GROUP BY host ORDER BY host"""
    ).fetchall()
    return [Host(**row, suspended_until=attempts.suspended(connection, row["name"])) for row in rows]
