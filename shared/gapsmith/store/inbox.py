"""Inbox: a consumer's row for each event it has handled, written in the transaction that handles it."""

from collections.abc import Sequence
from uuid import UUID

from gapsmith.store.database import Connection
from gapsmith.store.outbox import PUBLISHED


def take(connection: Connection, event_id: UUID, consumer: str) -> bool:
    """Whether this consumer sees the event for the first time; a concurrent taker waits for the other's commit.

    What is not in the outbox was handled and pruned long ago, and a broker has delivered it once more.
    """
    row = connection.execute(
        """INSERT INTO inbox (event_id, consumer) SELECT id, %s FROM outbox WHERE id = %s
           ON CONFLICT DO NOTHING RETURNING event_id""",
        (consumer, event_id),
    ).fetchone()
    return row is not None


def subscribe(connection: Connection, consumer: str, topics: Sequence[str]) -> None:
    """Say which topics a consumer handles: their events are kept until it has. Wakes inlets, whose group may change."""
    connection.execute("DELETE FROM subscriptions WHERE consumer = %s AND topic <> ALL(%s)", (consumer, list(topics)))
    connection.execute(
        "INSERT INTO subscriptions (consumer, topic) SELECT %s, unnest(%s::text[]) ON CONFLICT DO NOTHING",
        (consumer, list(topics)),
    )
    connection.execute(f"NOTIFY {PUBLISHED}")


def refuse(connection: Connection, event_id: UUID, consumer: str, error: str) -> None:
    """Record that the event went to the dead letters, so that it is not offered again."""
    connection.execute(
        "INSERT INTO inbox (event_id, consumer, error) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        (event_id, consumer, error),
    )


def offer_again(connection: Connection, event_id: UUID, consumer: str) -> bool:
    """Forget that an event went to the dead letters: its consumer takes it out of the outbox within seconds.

    False if it did not go there, or is not in the outbox.
    """
    row = connection.execute(
        """DELETE FROM inbox i USING outbox o
           WHERE i.event_id = %s AND i.consumer = %s AND i.error IS NOT NULL AND o.id = i.event_id RETURNING i.event_id""",
        (event_id, consumer),
    ).fetchone()
    connection.execute(f"NOTIFY {PUBLISHED}")
    return row is not None
