"""How the system fares: services, events that wait, dead letters, the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from gapsmith.store import attempts
from gapsmith.store.database import Connection

LATE_S: Final = 15.0  # since a heartbeat: three were missed
SILENT_S: Final = 60.0
LETTERS: Final = 50


@dataclass(frozen=True)
class Beat:
    """A process of a service."""

    service: str
    instance: str
    does: str
    started_at: datetime
    seen_at: datetime
    age_s: float

    @property
    def state(self) -> str:
        """In a word."""
        return "healthy" if self.age_s < LATE_S else "late" if self.age_s < SILENT_S else "silent"


@dataclass(frozen=True)
class Consumer:
    """A service's way through the events."""

    name: str
    handled: int
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
    unpublished: int
    oldest_unpublished_s: float | None
    letters: Sequence[DeadLetter]
    database_bytes: int
    tables: Sequence[Table]
    connections: int
    revision: str
    server: str
    hosts: Sequence[Host]
    calculations: Mapping[str, int]


def health(connection: Connection) -> Health:
    """Look at everything."""
    beats = connection.execute(
        """SELECT service, instance, state AS does, started_at, seen_at,
                  extract(epoch FROM now() - seen_at)::float8 AS age_s
           FROM heartbeats h
           WHERE seen_at > now() - make_interval(secs => %(silent)s) OR NOT EXISTS (  -- its successor is there
               SELECT 1 FROM heartbeats n
               WHERE n.service = h.service AND n.seen_at > now() - make_interval(secs => %(silent)s)
                 AND regexp_replace(n.instance, '-[0-9]+$', '') = regexp_replace(h.instance, '-[0-9]+$', ''))
           ORDER BY service, instance""",
        {"silent": SILENT_S},
    ).fetchall()
    consumers = connection.execute(
        """SELECT i.consumer AS name, count(*)::int AS handled, max(i.handled_at) AS newest_at,
                  (SELECT count(*) FROM tasks t WHERE t.service = i.consumer AND t.state IN ('pending', 'running'))::int
                      AS open_tasks,
                  (SELECT count(*) FROM tasks t WHERE t.service = i.consumer AND t.state = 'failed')::int AS failed_tasks
           FROM inbox i GROUP BY i.consumer ORDER BY i.consumer"""
    ).fetchall()
    waiting = connection.execute(
        """SELECT count(*)::int AS n, extract(epoch FROM now() - min(created_at))::float8 AS oldest_s
           FROM outbox WHERE published_at IS NULL"""
    ).fetchone()
    facts = connection.execute(
        """SELECT pg_database_size(current_database()) AS bytes, current_setting('server_version') AS server,
                  (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database())::int AS connections,
                  (SELECT version_num FROM alembic_version) AS revision"""
    ).fetchone()
    assert waiting is not None  # neither selects from rows that may be missing
    assert facts is not None
    tables = connection.execute(
        """SELECT relname AS name, greatest(reltuples, 0)::bigint AS rows, pg_total_relation_size(oid) AS bytes
           FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY bytes DESC LIMIT 8"""
    ).fetchall()
    calculations = connection.execute(
        "SELECT state, count(*)::int AS n FROM calculations GROUP BY state ORDER BY state"
    ).fetchall()
    return Health(
        beats=[Beat(**row) for row in beats],
        consumers=[Consumer(**row) for row in consumers],
        unpublished=waiting["n"],
        oldest_unpublished_s=waiting["oldest_s"],
        letters=letters(connection),
        database_bytes=facts["bytes"],
        tables=[Table(**row) for row in tables],
        connections=facts["connections"],
        revision=facts["revision"],
        server=facts["server"],
        hosts=_hosts(connection),
        calculations={row["state"]: row["n"] for row in calculations},
    )


def letters(connection: Connection) -> list[DeadLetter]:
    """The newest dead letters."""
    rows = connection.execute(
        """SELECT i.event_id, i.consumer, i.error AS reason, i.handled_at AS at, o.type, o.sequence
           FROM inbox i LEFT JOIN outbox o ON o.id = i.event_id
           WHERE i.error IS NOT NULL ORDER BY i.handled_at DESC LIMIT %s""",
        (LETTERS,),
    ).fetchall()
    return [DeadLetter(**row) for row in rows]


def _hosts(connection: Connection) -> list[Host]:
    rows = connection.execute(
        """SELECT host AS name, count(*) FILTER (WHERE outcome = 'running')::int AS running,
                  count(*) FILTER (WHERE outcome = 'done')::int AS done,
                  count(*) FILTER (WHERE outcome IN ('failed', 'lost'))::int AS failed
           FROM attempts WHERE started_at > now() - interval '1 day' GROUP BY host ORDER BY host"""
    ).fetchall()
    return [Host(**row, suspended_until=attempts.suspended(connection, row["name"])) for row in rows]
