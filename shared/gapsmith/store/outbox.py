"""Outbox: an event is stored in the transaction of the change it tells of; a relay publishes it afterwards."""

import json
import select
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from gapsmith.core.messages import Envelope, Event
from gapsmith.core.stopping import StopFlag
from gapsmith.store.database import Connection

CHANNEL = "gapsmith_outbox"  # an event was stored
PUBLISHED = "gapsmith_published"  # the broker has got some
BUSY_S = 20.0  # after a notification, for what may have been lost is looked for after ten
QUIET = 6  # times the usual interval when nothing was notified for longer
MOST_UNHANDLED = 500  # at once


@dataclass(frozen=True)
class Outgoing:
    """A stored event."""

    id: UUID
    topic: str
    key: str
    envelope: Envelope


@dataclass(frozen=True)
class Backlog:
    """Events that are not published yet."""

    events: int
    oldest_s: float | None  # age of the oldest


def emit(connection: Connection, event: Event, *, source: str) -> UUID:
    """Store an event to be published once the transaction commits; returns its id."""
    envelope = Envelope.wrap(event, source=source)
    key = str(event.campaign_id or envelope.id)
    connection.execute(
        "INSERT INTO outbox (id, topic, type, key, envelope) VALUES (%s, %s, %s, %s, %s)",
        (envelope.id, event.TOPIC, event.TYPE, key, Jsonb(envelope.model_dump(mode="json"))),
    )
    connection.execute(f"NOTIFY {CHANNEL}")
    return envelope.id


def emit_all(connection: Connection, events: Sequence[Event], *, source: str) -> None:
    """Store many events in one statement."""
    if not events:
        return
    records = []
    for event in events:
        envelope = Envelope.wrap(event, source=source)
        own = json.dumps({"topic": event.TOPIC, "key": str(event.campaign_id or envelope.id)})
        records.append(f'{own[:-1]}, "envelope": {envelope.model_dump_json()}}}')
    connection.execute(  # one document, for psycopg takes long over arrays of quoted text
        """INSERT INTO outbox (id, topic, type, key, envelope)
           SELECT (envelope ->> 'id')::uuid, topic, envelope ->> 'type', key, envelope
           FROM jsonb_to_recordset(%s::jsonb) AS new (topic text, key text, envelope jsonb)""",
        (f"[{','.join(records)}]",),
    )
    connection.execute(f"NOTIFY {CHANNEL}")


def unpublished(connection: Connection, limit: int = 500) -> list[Outgoing]:
    """The oldest events that nobody published, locked until the transaction ends; other relays skip them."""
    rows = connection.execute(
        """SELECT id, topic, key, envelope FROM outbox WHERE published_at IS NULL
           ORDER BY sequence LIMIT %s FOR UPDATE SKIP LOCKED""",
        (limit,),
    ).fetchall()
    return [_outgoing(row) for row in rows]


def mark_published(connection: Connection, ids: Sequence[UUID]) -> None:
    """Record that the broker has acknowledged these events."""
    connection.execute("UPDATE outbox SET published_at = now() WHERE id = ANY(%s)", (list(ids),))
    connection.execute("SELECT pg_notify(%s, '')", (PUBLISHED,))


def backlog(connection: Connection) -> Backlog:
    """What waits to be published."""
    row = connection.execute(
        """SELECT count(*)::int AS events, extract(epoch FROM now() - min(created_at))::float8 AS oldest_s
           FROM outbox WHERE published_at IS NULL"""
    ).fetchone()
    assert row is not None  # an aggregate without GROUP BY always gives a row
    return Backlog(**row)


def unhandled(
    connection: Connection, consumer: str, topics: Sequence[str], older_than_s: float, within_s: float | None = None
) -> list[Outgoing]:
    """Events of some topics that a consumer has not handled though they are old: the broker lost them.

    Args:
        connection: in a transaction.
        consumer: who has not handled them.
        topics: of the events.
        older_than_s: younger events may still be on their way.
        within_s: only events of so long a time; all if None.
    """
    rows = connection.execute(
        """SELECT o.id, o.topic, o.key, o.envelope FROM outbox o
           WHERE o.topic = ANY(%(topics)s) AND o.created_at < now() - make_interval(secs => %(older)s)
             AND o.created_at > coalesce(now() - make_interval(secs => %(within)s), '-infinity')
             AND NOT EXISTS (SELECT 1 FROM inbox i WHERE i.event_id = o.id AND i.consumer = %(consumer)s)
           ORDER BY o.sequence LIMIT %(most)s""",
        {
            "most": MOST_UNHANDLED,
            "topics": list(topics),
            "older": older_than_s,
            "within": within_s,
            "consumer": consumer,
        },
    ).fetchall()
    return [_outgoing(row) for row in rows]


def stored(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Envelope]:
    """Events by id, without those that are not there."""
    rows = connection.execute("SELECT id, envelope FROM outbox WHERE id = ANY(%s)", (list(ids),)).fetchall()
    return {row["id"]: Envelope.model_validate(row["envelope"]) for row in rows}


def _outgoing(row: dict[str, object]) -> Outgoing:
    envelope = Envelope.model_validate(row["envelope"])
    return Outgoing(id=envelope.id, topic=str(row["topic"]), key=str(row["key"]), envelope=envelope)


def prune(connection: Connection, kept_days: float, limit: int = 1000) -> int:
    """Forget some of the events that were published and handled long ago; returns how many, less than ``limit`` at the end.

    An event stays while a consumer that subscribes to its topic has not handled it, and if one could not.
    """
    row = connection.execute(
        """WITH old AS (
               SELECT o.id FROM outbox o
               WHERE o.published_at IS NOT NULL AND o.created_at < now() - make_interval(secs => %s)
                 AND EXISTS (SELECT 1 FROM inbox i WHERE i.event_id = o.id)
                 AND NOT EXISTS (SELECT 1 FROM inbox i WHERE i.event_id = o.id AND i.error IS NOT NULL)
                 AND NOT EXISTS (SELECT 1 FROM subscriptions s WHERE s.topic = o.topic AND NOT EXISTS (
                     SELECT 1 FROM inbox i WHERE i.event_id = o.id AND i.consumer = s.consumer))
               LIMIT %s FOR UPDATE SKIP LOCKED),
           gone AS (DELETE FROM outbox o USING old WHERE o.id = old.id RETURNING o.id),
           handled AS (DELETE FROM inbox i USING gone WHERE i.event_id = gone.id)
           SELECT count(*)::int AS n FROM gone""",
        (kept_days * 86400, limit),
    ).fetchone()
    assert row is not None  # an aggregate without GROUP BY always gives a row
    return int(row["n"])


class News:
    """Waits for notifications on a connection of its own, without transactions; of ``news``."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._heard = time.monotonic()  # of something

    def interval_s(self, usual_s: float) -> float:
        """How long to do without a look: as usual after a notification, longer when nothing happens.

        Every commit that emits, publishes or subscribes notifies, so a look without a notification is a precaution.
        """
        return usual_s if time.monotonic() - self._heard < BUSY_S else QUIET * usual_s

    def wait(self, usual_s: float, stop: StopFlag) -> set[str]:
        """Wait for a notification, for ``interval_s``, or until told to stop; the channels that notified.

        Raises:
            psycopg.OperationalError: the connection is lost.
        """
        sockets = select.poll()
        sockets.register(self.connection.fileno(), select.POLLIN)
        sockets.register(stop.fileno(), select.POLLIN)
        until = time.monotonic() + self.interval_s(usual_s)
        while not stop.is_set():
            # with a time-out psycopg itself would look ten times a second
            if told := {one.channel for one in self.connection.notifies(timeout=0)}:
                self._heard = time.monotonic()
                return told
            if (left := until - time.monotonic()) <= 0:
                break
            sockets.poll(1000 * left)
        return set()


@contextmanager
def news(url: str, *channels: str) -> Iterator[News]:
    """Listen whenever events are emitted (``CHANNEL``) or published (``PUBLISHED``).

    Raises:
        psycopg.OperationalError: the server cannot be reached.
    """
    with psycopg.connect(url, autocommit=True, connect_timeout=5, row_factory=dict_row) as connection:
        for channel in channels:
            connection.execute(f"LISTEN {channel}")
        yield News(connection)
