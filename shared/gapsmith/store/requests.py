"""What the coordinator asked of the generator and the trainer, and what came of it: numbers that outlive the outbox."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from gapsmith.core.messages import CandidatesProposed, GenerateRequested, TrainingRequested
from gapsmith.store import outbox
from gapsmith.store.database import Connection

GENERATOR: Final = "generator"
TRAINER: Final = "trainer"
SURROGATE: Final = "surrogate"


@dataclass(frozen=True)
class Generations:
    """Requests for molecules."""

    made: int
    open: int  # not answered yet
    barren: int  # answered since the last usable candidate was proposed
    regrown: int  # of those made, with parents


@dataclass(frozen=True)
class Trainings:
    """Requests for trainings."""

    labels: int  # that there were at the last one
    asked: int
    open: int  # not answered yet
    since_s: float  # since the last one, or since the campaign began


@dataclass(frozen=True)
class Draws:
    """What the generator told."""

    sampled: int  # molecules drawn
    proposed: int  # of them, those that went on to the surrogate
    open: bool  # whether the surrogate has some of them before it


def generate(connection: Connection, event: GenerateRequested, *, source: str) -> None:
    """Ask for molecules, and write down that it was asked."""
    connection.execute(
        "INSERT INTO requests (id, campaign_id, service, parents) VALUES (%s, %s, %s, %s)",
        (outbox.emit(connection, event, source=source), event.campaign_id, GENERATOR, len(event.parents)),
    )


def train(connection: Connection, event: TrainingRequested, *, source: str) -> None:
    """Ask for a training, and write down that it was asked."""
    connection.execute(
        "INSERT INTO requests (id, campaign_id, service, labels) VALUES (%s, %s, %s, %s)",
        (outbox.emit(connection, event, source=source), event.campaign_id, TRAINER, event.labels),
    )


def tell(connection: Connection, event: CandidatesProposed, *, source: str) -> UUID:
    """Tell of candidates that were drawn, and write down how many were not accepted; returns the event's id."""
    event_id = outbox.emit(connection, event, source=source)
    connection.execute(
        "INSERT INTO draws (id, campaign_id, sampled, proposed, refused) VALUES (%s, %s, %s, %s, %s)",
        (event_id, event.campaign_id, event.sampled, len(event.candidate_ids), Jsonb(event.refused)),
    )
    return event_id


# A request is answered when its task has ended, or when the service has handled it without making a task: then there was
# nothing to do, or it went to the dead letters. What has gone from the outbox was handled.
_ASKED = """
    WITH asked AS (
        SELECT r.created_at, r.parents, r.labels, t.state = 'cancelled' AS cancelled,
               coalesce(t.finished_at, i.handled_at, r.created_at) AS answered_at,
               CASE WHEN t.id IS NULL THEN i.event_id IS NOT NULL OR o.id IS NULL
                    ELSE t.state NOT IN ('pending', 'running') END AS answered
        FROM requests r LEFT JOIN tasks t ON t.id = r.id LEFT JOIN outbox o ON o.id = r.id
        LEFT JOIN inbox i ON i.event_id = r.id AND i.consumer = r.service
        WHERE r.campaign_id = %(campaign)s AND r.service = %(service)s)"""


def generations(connection: Connection, campaign_id: UUID) -> Generations:
    """A campaign's requests for molecules."""
    row = _row(
        connection,
        f"""{_ASKED}
            SELECT count(*) AS made, count(*) FILTER (WHERE NOT answered) AS open,
                   count(*) FILTER (WHERE answered AND cancelled IS NOT TRUE AND answered_at > coalesce((
                       SELECT max(created_at) FROM candidates WHERE campaign_id = %(campaign)s
                       AND state NOT IN ('proposed', 'rejected')), '-infinity')) AS barren,
                   count(*) FILTER (WHERE parents > 0) AS regrown
            FROM asked""",
        campaign_id,
        GENERATOR,
    )
    return Generations(**row)


def trainings(connection: Connection, campaign_id: UUID) -> Trainings:
    """A campaign's requests for trainings."""
    row = _row(
        connection,
        f"""{_ASKED}
            SELECT coalesce(max(labels), 0) AS labels, count(*) AS asked, count(*) FILTER (WHERE NOT answered) AS open,
                   extract(epoch FROM now() - coalesce(max(created_at), (
                       SELECT created_at FROM campaigns WHERE id = %(campaign)s)))::float8 AS since_s
            FROM asked""",
        campaign_id,
        TRAINER,
    )
    return Trainings(**row)


def draws(connection: Connection, campaign_id: UUID) -> Draws:
    """What was drawn for a campaign."""
    row = _row(
        connection,
        """SELECT coalesce(sum(d.sampled), 0)::int AS sampled, coalesce(sum(d.proposed), 0)::int AS proposed,
                  count(*) FILTER (WHERE o.id IS NOT NULL AND i.event_id IS NULL) > 0 OR EXISTS (
                      SELECT 1 FROM tasks WHERE service = %(service)s AND campaign_id = %(campaign)s
                      AND state IN ('pending', 'running')) AS open
           FROM draws d LEFT JOIN outbox o ON o.id = d.id
           LEFT JOIN inbox i ON i.event_id = d.id AND i.consumer = %(service)s
           WHERE d.campaign_id = %(campaign)s""",
        campaign_id,
        SURROGATE,
    )
    return Draws(**row)


def _row(connection: Connection, query: str, campaign_id: UUID, service: str) -> dict[str, Any]:
    row = connection.execute(query, {"campaign": campaign_id, "service": service}).fetchone()
    assert row is not None  # an aggregate without GROUP BY always gives a row
    return row
