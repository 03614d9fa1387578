"""Heartbeats: a row per process, which says where it runs and what it works on."""

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from gapsmith.store.database import Connection

DFT_WORKER: Final = "dft_worker"
LATE_S: Final = 15.0  # since the last heartbeat: three were missed
SILENT_S: Final = 60.0  # the process is taken for dead


@dataclass(frozen=True)
class Beat:
    """A process of a service, as it was last heard of."""

    service: str
    host: str
    pid: int
    queues: Sequence[str]  # that a DFT worker takes jobs from
    activity: str  # for people
    campaign: str | None  # name of the one whose task is in work
    calculation_ids: Sequence[UUID]  # in work
    started_at: datetime
    seen_at: datetime
    age_s: float

    @property
    def state(self) -> str:
        """In a word: healthy, late or silent."""
        return "healthy" if self.age_s < LATE_S else "late" if self.age_s < SILENT_S else "silent"

    @property
    def gone(self) -> bool:
        """Whether it is a process of this host that has ended; of other hosts nothing else is known."""
        return self.host == socket.gethostname() and not _exists(self.pid)


def beat(
    connection: Connection,
    service: str,
    activity: str,
    *,
    queues: Sequence[str] = (),
    campaign_id: UUID | None = None,
    calculation_ids: Sequence[UUID] = (),
    host: str | None = None,
    pid: int | None = None,
) -> None:
    """Say that a process, by default this one, is alive and what it does; forget processes of this host that are gone."""
    here = socket.gethostname()
    silent = connection.execute(
        """WITH beating AS (
               INSERT INTO heartbeats (service, host, pid, queues, activity, campaign_id, calculation_ids)
               VALUES (%(service)s, %(host)s, %(pid)s, %(queues)s, %(activity)s, %(campaign_id)s, %(calculation_ids)s)
               ON CONFLICT (service, host, pid) DO UPDATE SET queues = EXCLUDED.queues, activity = EXCLUDED.activity,
                   campaign_id = EXCLUDED.campaign_id, calculation_ids = EXCLUDED.calculation_ids, seen_at = now()),
           others AS (
               SELECT * FROM heartbeats WHERE (service, host, pid) <> (%(service)s, %(host)s, %(pid)s)
                                          AND seen_at < now() - make_interval(secs => %(silent)s)),
           forgotten AS (
               DELETE FROM heartbeats h USING others o WHERE (h.service, h.host, h.pid) = (o.service, o.host, o.pid)
                                                         AND o.seen_at < now() - interval '1 day')
           SELECT service, pid FROM others WHERE host = %(here)s""",
        {
            "service": service,
            "host": host or here,
            "here": here,
            "pid": pid or os.getpid(),
            "queues": list(queues),
            "activity": activity,
            "campaign_id": campaign_id,
            "calculation_ids": list(calculation_ids),
            "silent": SILENT_S,
        },
    ).fetchall()
    for row in silent:
        if not _exists(row["pid"]):
            end(connection, row["service"], host=here, pid=row["pid"])


def listed(connection: Connection) -> list[Beat]:
    """Processes by service; of those that are silent only the ones without a successor on their host."""
    rows = connection.execute(
        """SELECT h.service, h.host, h.pid, h.queues, h.activity, g.name AS campaign, h.calculation_ids, h.started_at,
                  h.seen_at, extract(epoch FROM now() - h.seen_at)::float8 AS age_s
           FROM heartbeats h LEFT JOIN campaigns g ON g.id = h.campaign_id
           WHERE h.seen_at > now() - make_interval(secs => %(silent)s) OR NOT EXISTS (
               SELECT 1 FROM heartbeats n WHERE n.service = h.service AND n.host = h.host
                                            AND n.seen_at > now() - make_interval(secs => %(silent)s))
           ORDER BY h.service, h.host, h.pid""",
        {"silent": SILENT_S},
    ).fetchall()
    return [Beat(**row) for row in rows]


def alive(connection: Connection, within_s: float = SILENT_S) -> list[Beat]:
    """Processes that were heard of lately, by service; one that died within that time is among them."""
    return [one for one in listed(connection) if one.age_s < within_s]


def last_here(connection: Connection) -> dict[str, datetime]:
    """When each service of this host was last heard of."""
    rows = connection.execute(
        "SELECT service, max(seen_at) AS seen_at FROM heartbeats WHERE host = %s GROUP BY service",
        (socket.gethostname(),),
    ).fetchall()
    return {row["service"]: row["seen_at"] for row in rows}


def end(connection: Connection, service: str, *, host: str | None = None, pid: int | None = None) -> None:
    """Take the row of a process, by default this one, away: it has ended."""
    connection.execute(
        "DELETE FROM heartbeats WHERE service = %s AND host = %s AND pid = %s",
        (service, host or socket.gethostname(), pid or os.getpid()),
    )


def _exists(pid: int) -> bool:
    with suppress(PermissionError):  # then it exists, and is somebody else's
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True
