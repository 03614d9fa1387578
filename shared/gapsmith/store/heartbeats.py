"""Heartbeats: a row per service instance."""

import os

from gapsmith.store.database import Connection


def beat(connection: Connection, service: str, instance: str, state: str) -> None:
    """Say that this process is alive and what it does."""
    connection.execute(
        """INSERT INTO heartbeats (service, instance, pid, state) VALUES (%s, %s, %s, %s)
           ON CONFLICT (service, instance) DO UPDATE SET state = EXCLUDED.state, seen_at = now()""",
        (service, instance, os.getpid(), state),
    )
    connection.execute("DELETE FROM heartbeats WHERE service = %s AND seen_at < now() - interval '1 day'", (service,))


def age_s(connection: Connection, service: str, host: str) -> float | None:
    """Seconds since a service's processes on a host were last heard of; None if never, or after a clean shutdown."""
    row = connection.execute(
        """SELECT extract(epoch FROM now() - max(seen_at))::float8 AS age_s FROM heartbeats
           WHERE service = %s AND starts_with(instance, %s)""",
        (service, f"{host}-"),
    ).fetchone()
    return None if row is None or row["age_s"] is None else float(row["age_s"])


def end(connection: Connection, service: str, instance: str) -> None:
    """Take the row away on a clean shutdown."""
    connection.execute("DELETE FROM heartbeats WHERE service = %s AND instance = %s", (service, instance))
