"""Takes a campaign's snapshot out of Postgres, where all its state is: a restarted coordinator sees the same."""

from typing import Any
from uuid import UUID

from gapsmith.coordinator.policy import Proposals, Requests, Snapshot
from gapsmith.core.messages import CandidatesProposed, Event, GenerateRequested, TrainingRequested
from gapsmith.store.campaigns import Campaign
from gapsmith.store.database import Connection

_CANDIDATES = """
    SELECT count(*) FILTER (WHERE c.state = 'scored') AS waiting,
           count(*) FILTER (WHERE c.state = 'selected') AS open_triage,
           count(*) FILTER (WHERE c.state IN ('selected', 'labelled', 'certified', 'failed')) AS used_jobs,
           count(*) FILTER (WHERE c.state IN ('labelled', 'certified')) AS labels,
           count(*) FILTER (WHERE c.gap_ev BETWEEN %(low)s AND %(high)s) AS hits,
           count(*) FILTER (WHERE c.certified_gap_ev BETWEEN %(low)s AND %(high)s) AS certified_hits,
           count(*) FILTER (WHERE c.state = 'labelled' AND c.certificate_id IS NULL
                                  AND c.gap_ev BETWEEN %(low)s AND %(high)s) AS uncertified_hits,
           count(*) FILTER (WHERE c.state = 'labelled' AND k.state IN ('queued', 'running')) AS open_certificates,
           count(*) FILTER (WHERE c.state = 'proposed') AS proposed,
           count(*) FILTER (WHERE c.state NOT IN ('proposed', 'rejected')) AS usable
    FROM candidates c LEFT JOIN calculations k ON k.id = c.certificate_id
    WHERE c.campaign_id = %(campaign)s"""

# An event asks a service for work. It is answered when its task has ended, or when the service has handled it without
# making a task: then there was nothing to do, or it went to the dead letters.
_ASKED = """
    WITH asked AS (
        SELECT o.sequence, o.created_at AS asked_at, o.envelope -> 'data' AS data,
               coalesce(t.finished_at, i.handled_at) AS answered_at,
               CASE WHEN t.id IS NULL THEN i.event_id IS NOT NULL ELSE t.state IN ('done', 'failed') END AS answered
        FROM outbox o LEFT JOIN tasks t ON t.id = o.id
        LEFT JOIN inbox i ON i.event_id = o.id AND i.consumer = %(service)s
        WHERE o.topic = %(topic)s AND o.key = %(campaign)s::text)"""


def take(connection: Connection, campaign: Campaign, *, workers: int) -> Snapshot:
    """The snapshot of a campaign whose row the caller holds locked."""
    window = campaign.config.target.window
    counts = _row(connection, _CANDIDATES, {"campaign": campaign.id, "low": window.low_ev, "high": window.high_ev})
    proposed, usable = counts.pop("proposed"), counts.pop("usable")
    trainings = _trainings(connection, campaign.id)
    return Snapshot(
        state=campaign.state,
        elapsed_s=campaign.elapsed_s,
        workers=workers,
        **counts,
        requests=_requests(connection, campaign.id),
        proposals=_proposals(connection, campaign.id, proposed, usable),
        parents=counts["waiting"] + counts["labels"],
        trained_labels=trainings["labels"],
        open_trainings=trainings["open"],
        since_training_s=float(trainings["seconds"]),
        drift=_drift(connection, campaign.id, trainings["labels"]) if campaign.config.retraining.drift else 0.0,
    )


def _requests(connection: Connection, campaign_id: UUID) -> Requests:
    row = _asked(
        connection,
        campaign_id,
        GenerateRequested,
        "generator",
        """SELECT count(*) AS made, count(*) FILTER (WHERE NOT answered) AS open,
                  count(*) FILTER (WHERE answered AND answered_at > coalesce((
                      SELECT max(created_at) FROM candidates WHERE campaign_id = %(campaign)s
                      AND state NOT IN ('proposed', 'rejected')), '-infinity')) AS barren,
                  count(*) FILTER (WHERE jsonb_array_length(data -> 'parents') > 0) AS regrown
           FROM asked""",
    )
    return Requests(**row)


def _proposals(connection: Connection, campaign_id: UUID, proposed: int, usable: int) -> Proposals:
    row = _row(
        connection,
        """SELECT coalesce(sum((o.envelope #>> '{data,sampled}')::int), 0) AS sampled,
                  coalesce(sum(jsonb_array_length(o.envelope #> '{data,candidate_ids}')), 0) AS told,
                  count(*) FILTER (WHERE i.event_id IS NULL) AS unheard,
                  (SELECT count(*) FROM tasks WHERE service = 'surrogate' AND campaign_id = %(campaign)s
                   AND state IN ('pending', 'running')) AS open_tasks
           FROM outbox o LEFT JOIN inbox i ON i.event_id = o.id AND i.consumer = 'surrogate'
           WHERE o.topic = %(topic)s AND o.key = %(campaign)s::text""",
        {"campaign": campaign_id, "topic": CandidatesProposed.TOPIC},
    )
    return Proposals(
        sampled=row["sampled"],
        # what the surrogate has given up on stays proposed for ever, and nothing is to be expected of it
        unjudged=proposed if row["unheard"] or row["open_tasks"] else 0,
        judged=max(row["told"] - proposed, 0),
        usable=usable,
    )


def _trainings(connection: Connection, campaign_id: UUID) -> dict[str, int]:
    return _asked(
        connection,
        campaign_id,
        TrainingRequested,
        "trainer",
        """SELECT coalesce(max((data ->> 'labels')::int), 0) AS labels, count(*) FILTER (WHERE NOT answered) AS open,
                  extract(epoch FROM now() - coalesce(max(asked_at), (
                      SELECT created_at FROM campaigns WHERE id = %(campaign)s))) AS seconds
           FROM asked""",
    )


def _drift(connection: Connection, campaign_id: UUID, trained_labels: int) -> float:
    """Of the labels after the first ``trained_labels``, each beside the last prediction made before it was computed."""
    row = connection.execute(
        """SELECT sqrt(avg(((labels.gap_ev - p.gap_ev) / p.gap_std_ev) ^ 2)) AS drift
           FROM (SELECT c.id, c.gap_ev, k.started_at FROM candidates c JOIN calculations k ON k.id = c.triage_id
                 WHERE c.campaign_id = %s AND c.gap_ev IS NOT NULL
                 ORDER BY k.finished_at, k.id OFFSET %s) AS labels
           CROSS JOIN LATERAL (
               SELECT gap_ev, gap_std_ev FROM predictions WHERE candidate_id = labels.id
               ORDER BY created_at >= labels.started_at, abs(extract(epoch FROM created_at - labels.started_at)) LIMIT 1
           ) AS p""",
        (campaign_id, trained_labels),
    ).fetchone()
    assert row is not None  # an aggregate without GROUP BY always gives a row
    return float(row["drift"] or 0.0)


def _asked(connection: Connection, campaign_id: UUID, event: type[Event], service: str, summary: str) -> dict[str, int]:
    values = {"campaign": campaign_id, "topic": event.TOPIC, "service": service}
    return _row(connection, f"{_ASKED} {summary}", values)


def _row(connection: Connection, query: str, values: dict[str, Any]) -> dict[str, int]:
    row = connection.execute(query, values).fetchone()
    assert row is not None  # an aggregate without GROUP BY always gives a row
    return {name: int(value) for name, value in row.items()}
