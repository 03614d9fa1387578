"""How fast work goes: candidates of a campaign, and how busy the DFT workers are."""

from dataclasses import dataclass
from uuid import UUID

from gapsmith.store.database import Connection


@dataclass(frozen=True)
class Throughput:
    """How many candidates of a campaign got so far within a span of time."""

    proposed: int
    scored: int
    labelled: int


@dataclass(frozen=True)
class Utilisation:
    """How busy DFT workers were within a span of time."""

    running: int  # calculations, now
    busy: float | None  # share of their lanes' time that was spent in calculations; None without lanes


def throughput(connection: Connection, campaign_id: UUID, span_s: float) -> Throughput:
    """What happened to a campaign's candidates in the last so many seconds."""
    row = connection.execute(
        """SELECT (SELECT count(*) FROM candidates WHERE campaign_id = %(id)s
                     AND created_at > now() - make_interval(secs => %(span)s)) AS proposed,
                  (SELECT count(*) FROM candidates c JOIN conformers f ON f.id = c.relaxed_conformer_id
                   WHERE c.campaign_id = %(id)s AND c.state <> 'rejected'
                     AND f.created_at > now() - make_interval(secs => %(span)s)) AS scored,
                  (SELECT count(*) FROM candidates c JOIN calculations k ON k.id = c.triage_id
                   WHERE c.campaign_id = %(id)s AND k.finished_at > now() - make_interval(secs => %(span)s)) AS labelled""",
        {"id": campaign_id, "span": span_s},
    ).fetchone()
    assert row is not None  # it has no FROM
    return Throughput(**row)


def utilisation(connection: Connection, span_s: float) -> Utilisation:
    """How busy the workers of all hosts were; as many lanes are counted as calculations ran at a time."""
    row = connection.execute(
        """WITH spans AS (
               SELECT host, greatest(started_at, now() - make_interval(secs => %(span)s)) AS low,
                      least(coalesce(ended_at, now()), now()) AS high, outcome
               FROM attempts WHERE coalesce(ended_at, now()) > now() - make_interval(secs => %(span)s)),
           ends AS (SELECT low AS at, 1 AS step FROM spans UNION ALL SELECT high, -1 FROM spans),
           lanes AS (SELECT coalesce(max(n), 0) AS n FROM (
               SELECT sum(step) OVER (ORDER BY at, step) AS n FROM ends) AS levels)
           SELECT count(*) FILTER (WHERE outcome = 'running')::int AS running, (SELECT n FROM lanes)::int AS lanes,
                  coalesce(sum(extract(epoch FROM high - low)), 0)::float8 AS busy_s,
                  coalesce(extract(epoch FROM now() - min(low)), 0)::float8 AS span_s
           FROM spans""",
        {"span": span_s},
    ).fetchone()
    assert row is not None  # an aggregate without GROUP BY always gives a row
    lanes_s = row["lanes"] * row["span_s"]
    return Utilisation(row["running"], min(1.0, row["busy_s"] / lanes_s) if lanes_s > 0 else None)
