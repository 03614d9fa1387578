"""What a progress display needs of a campaign, in one cheap batch of queries."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from gapsmith.core.lifecycle import CandidateState, Outcome
from gapsmith.core.target import Target
from gapsmith.store import campaigns
from gapsmith.store.database import Connection


@dataclass(frozen=True)
class Best:
    """The best hit by the target's objectives, if it has any; else the molecule whose DFT values are nearest to it."""

    candidate_id: UUID
    molecule_id: int
    smiles: str
    value: float  # of the target's main property, that counts: the certificate's if there is one, else the label's
    unit: str
    shown: str  # its values of all that is wanted, for people
    level: str  # triage or certificate


@dataclass(frozen=True)
class Counts:
    """How many candidates of a campaign are where; every decision and every display counts by this."""

    by_state: dict[str, int]  # candidates in each state that any is in
    waiting_to_score: int
    waiting: int  # scored, not selected
    usable: int  # passed the surrogate's checks: scored, or further
    labels: int  # DFT values
    dft_done: int  # triage calculations that ended, well or not
    dft_open: int  # selected, not computed yet
    dft_running: int
    dft_queued: int
    dft_failed: int
    certificates_done: int
    certificates_open: int
    hits: int  # by label or by certificate
    certified_hits: int  # of them, by certificate
    missed_hits: int  # inside the window by their labels, outside by their certificates: not hits
    uncertified_hits: int  # hits whose certificates were not asked for

    @property
    def hits_by_kind(self) -> str:
        """The number of hits and of which kind they are, in words."""
        return hits_by_kind(self.hits, self.certified_hits, self.missed_hits)


def hits_by_kind(hits: int, certified: int, missed: int) -> str:
    """Write for example ``2 (1 certified, 1 missed)``."""
    return f"{hits} ({certified} certified, {missed} missed)"


@dataclass(frozen=True)
class Progress(Counts):
    """Where a campaign stands. ``cli.display`` shows it."""

    state: str
    stop_reason: str | None
    sampled: int  # molecules drawn by the generator
    rejected: int  # no molecule, forbidden, known already, or broken by the relaxation
    rejected_by_reason: dict[str, int]
    dft_budget: int
    certifies: bool
    best: Best | None
    model_version: int
    last_verdict: str | None
    elapsed_s: float
    wall_time_s: float
    first_dft_at_s: float | None  # seconds after the start of the campaign


_STATES = ", ".join(f"'{state}', count(*) FILTER (WHERE c.state = '{state}')" for state in CandidateState)
_COUNTS = f"""
    SELECT json_build_object({_STATES}) AS by_state,
           count(*) FILTER (WHERE c.state = 'proposed') AS waiting_to_score,
           count(*) FILTER (WHERE c.state = 'scored') AS waiting,
           count(*) FILTER (WHERE c.state NOT IN ('proposed', 'rejected')) AS usable,
           count(*) FILTER (WHERE c.state IN ('labelled', 'certified')) AS labels,
           count(*) FILTER (WHERE c.state IN ('labelled', 'certified', 'failed')) AS dft_done,
           count(*) FILTER (WHERE c.state = 'selected') AS dft_open,
           count(*) FILTER (WHERE c.state = 'selected' AND t.state = 'running') AS dft_running,
           count(*) FILTER (WHERE c.state = 'selected' AND t.state = 'queued') AS dft_queued,
           count(*) FILTER (WHERE c.state = 'failed') AS dft_failed,
           count(*) FILTER (WHERE k.state IN ('done', 'failed')) AS certificates_done,
           count(*) FILTER (WHERE c.state = 'labelled' AND k.state IN ('queued', 'running')) AS certificates_open,
           count(*) FILTER (WHERE c.outcome IN ('hit_by_label', 'hit_by_certificate')) AS hits,
           count(*) FILTER (WHERE c.outcome = 'hit_by_certificate') AS certified_hits,
           count(*) FILTER (WHERE c.outcome = 'missed') AS missed_hits,
           count(*) FILTER (WHERE c.outcome = 'hit_by_label' AND c.state = 'labelled' AND c.certificate_id IS NULL)
               AS uncertified_hits
    FROM candidates c
    LEFT JOIN calculations t ON t.id = c.triage_id
    LEFT JOIN calculations k ON k.id = c.certificate_id
    WHERE c.campaign_id = %s"""


def counts(connection: Connection, campaign_id: UUID) -> Counts:
    """Count a campaign's candidates."""
    row = connection.execute(_COUNTS, (campaign_id,)).fetchone()
    assert row is not None  # an aggregate without GROUP BY always gives a row
    by_state = {state: n for state, n in row.pop("by_state").items() if n}
    return Counts(by_state=by_state, **row)


_REASONS = """
    SELECT reason, sum(n)::int AS n FROM (
        SELECT reason, count(*) AS n FROM candidates WHERE campaign_id = %(campaign)s AND state = 'rejected'
        GROUP BY reason
        UNION ALL
        SELECT refused.key, sum(refused.value::bigint) FROM draws, jsonb_each_text(refused) AS refused
        WHERE campaign_id = %(campaign)s GROUP BY refused.key) AS refusals
    GROUP BY reason ORDER BY n DESC, reason"""

_BEST = """
    SELECT c.id AS candidate_id, c.molecule_id, m.smiles, coalesce(c.certified_value, c.label_value) AS value,
           coalesce(k.properties, t.properties) AS properties,
           CASE WHEN c.certified_value IS NULL THEN 'triage' ELSE 'certificate' END AS level
    FROM candidates c JOIN molecules m ON m.id = c.molecule_id JOIN calculations t ON t.id = c.triage_id
    LEFT JOIN calculations k ON k.id = c.certificate_id AND c.state = 'certified'
    WHERE c.campaign_id = %(campaign)s AND c.violation IS NOT NULL
    ORDER BY c.violation > 0, CASE WHEN c.violation > 0 OR NOT %(ranked)s THEN c.violation END, c.id
    LIMIT CASE WHEN %(ranked)s THEN (SELECT greatest(1, count(*)) FROM candidates
                                     WHERE campaign_id = %(campaign)s AND violation <= 0) ELSE 1 END"""

_REST = """
    SELECT (SELECT coalesce(sum(sampled), 0) FROM draws WHERE campaign_id = %(campaign)s)::bigint AS sampled,
           (SELECT version FROM models WHERE role = 'surrogate' AND state = 'live') AS model_version,
           (SELECT verdict FROM models WHERE campaign_id = %(campaign)s AND role = 'surrogate' AND verdict IS NOT NULL
            ORDER BY created_at DESC, version DESC LIMIT 1) AS last_verdict,
           (SELECT extract(epoch FROM min(t.started_at) - g.created_at)::float8
            FROM candidates c JOIN calculations t ON t.id = c.triage_id JOIN campaigns g ON g.id = c.campaign_id
            WHERE c.campaign_id = %(campaign)s GROUP BY g.created_at) AS first_dft_at_s"""


def progress(connection: Connection, campaign_id: UUID) -> Progress:
    """Where a campaign stands now; raises InputError if there is none of that id."""
    campaign = campaigns.get(connection, campaign_id)
    config = campaign.config
    values = {"campaign": campaign_id}
    rest = connection.execute(_REST, values).fetchone()
    assert rest is not None  # it has no FROM
    first_dft_at_s = rest.pop("first_dft_at_s")
    reasons = {row["reason"]: row["n"] for row in connection.execute(_REASONS, values)}
    best = connection.execute(_BEST, values | {"ranked": bool(config.target.objectives)}).fetchall()
    version = rest.pop("model_version")
    return Progress(
        state=campaign.state,
        stop_reason=campaign.stop_reason,
        **asdict(counts(connection, campaign_id)),
        **rest,
        rejected=sum(reasons.values()),
        rejected_by_reason=reasons,
        dft_budget=config.budget.dft_jobs,
        certifies=config.dft.certify,
        best=_best(best, config.target) if best else None,
        model_version=0 if version is None else version,
        elapsed_s=campaign.elapsed_s,
        wall_time_s=config.budget.wall_time.total_seconds(),
        # a calculation that was shared with an earlier campaign began before this one did
        first_dft_at_s=None if first_dft_at_s is None else max(first_dft_at_s, 0.0),
    )


def _best(rows: list[dict[str, Any]], target: Target) -> Best:
    """Of the nearest one, or of all hits where something ranks them."""
    row = max(rows, key=lambda one: target.merit(one["properties"]))
    known = row.pop("properties")
    return Best(**row, unit=target.main.unit, shown=target.shown(known))


def drift(connection: Connection, campaign_id: UUID, after_labels: int) -> float:
    """Root mean square of the errors of predictions, in predicted standard deviations.

    Of the labels after the first ``after_labels``, each with the last prediction made before it was computed.
    """
    row = connection.execute(
        """SELECT sqrt(avg(((labels.value - (p.said ->> 'mean')::float8) / (p.said ->> 'std')::float8) ^ 2)) AS drift
           FROM (SELECT c.id, c.label_value AS value, k.started_at, g.config #>> '{target,0,property}' AS property
                 FROM candidates c JOIN calculations k ON k.id = c.triage_id JOIN campaigns g ON g.id = c.campaign_id
                 WHERE c.campaign_id = %s AND c.label_value IS NOT NULL
                 ORDER BY k.finished_at, k.id OFFSET %s) AS labels
           CROSS JOIN LATERAL (
               SELECT properties -> labels.property AS said FROM predictions
               WHERE candidate_id = labels.id AND properties ? labels.property
               ORDER BY created_at >= labels.started_at, abs(extract(epoch FROM created_at - labels.started_at)) LIMIT 1
           ) AS p""",
        (campaign_id, after_labels),
    ).fetchone()
    assert row is not None  # an aggregate without GROUP BY always gives a row
    return float(row["drift"] or 0.0)


@dataclass(frozen=True)
class Attempt:
    """A DFT job of a campaign that has ended, and what came of it; single values are of the target's main property."""

    candidate_id: UUID
    smiles: str
    in_qm9: bool
    sa_score: float
    state: str  # labelled, certified or failed
    reason: str | None  # why it, or its certificate, failed
    label_value: float | None  # DFT at the GFN2-xTB geometry
    certified_value: float | None  # DFT at the DFT geometry
    violation: float | None  # of the target, by the values that count
    outcome: Outcome | None
    labels: Mapping[str, float]  # by property, as the next
    certificates: Mapping[str, float] | None
    predicted: float | None  # before the label was known
    predicted_std: float | None

    @property
    def counting(self) -> Mapping[str, float]:
        """The values that count, by property: the certificate's if there is one, else the label's."""
        return self.labels if self.certificates is None else self.certificates


@dataclass(frozen=True)
class DftCost:
    """What a campaign's calculations cost; what an earlier campaign had computed costs nothing."""

    calculations: int  # that this campaign asked for first
    reused: int  # that another campaign had asked for before
    cpu_s: float
    wall_s: float


@dataclass(frozen=True)
class TrainedModel:
    """A model that was trained in a campaign."""

    role: str
    version: int
    labels: int
    state: str
    verdict: str | None


def attempts(connection: Connection, campaign_id: UUID) -> list[Attempt]:
    """All DFT jobs of a campaign that have ended, in the order in which they did."""
    rows = connection.execute(
        """SELECT c.id AS candidate_id, m.smiles, m.in_qm9, m.sa_score, c.state, c.reason, c.label_value,
                  c.certified_value, c.violation, c.outcome, t.properties AS labels,
                  CASE WHEN c.state = 'certified' THEN k.properties END AS certificates,
                  (p.said ->> 'mean')::float8 AS predicted,
                  (p.said ->> 'std')::float8 AS predicted_std
           FROM candidates c JOIN molecules m ON m.id = c.molecule_id JOIN calculations t ON t.id = c.triage_id
           LEFT JOIN calculations k ON k.id = c.certificate_id
           JOIN campaigns g ON g.id = c.campaign_id
           LEFT JOIN LATERAL (SELECT p.properties -> (g.config #>> '{target,0,property}') AS said
                              FROM predictions p JOIN models ON models.id = p.model_id
                              WHERE p.candidate_id = c.id ORDER BY models.version DESC LIMIT 1) p ON true
           WHERE c.campaign_id = %s AND c.state IN ('labelled', 'certified', 'failed')
           ORDER BY t.finished_at, c.id""",
        (campaign_id,),
    ).fetchall()
    return [Attempt(outcome=Outcome(found) if (found := row.pop("outcome")) else None, **row) for row in rows]


def dft_cost(connection: Connection, campaign_id: UUID) -> DftCost:
    """CPU and wall time of a campaign's calculations, summed over workers."""
    row = connection.execute(
        """SELECT count(*) FILTER (WHERE k.campaign_id = %(id)s) AS calculations,
                  count(*) FILTER (WHERE k.campaign_id <> %(id)s) AS reused,
                  coalesce(sum(k.cpu_s) FILTER (WHERE k.campaign_id = %(id)s), 0)::float8 AS cpu_s,
                  coalesce(sum(k.wall_s) FILTER (WHERE k.campaign_id = %(id)s), 0)::float8 AS wall_s
           FROM calculations k WHERE k.state IN ('done', 'failed') AND k.id IN (
               SELECT triage_id FROM candidates WHERE campaign_id = %(id)s
               UNION SELECT certificate_id FROM candidates WHERE campaign_id = %(id)s)""",
        {"id": campaign_id},
    ).fetchone()
    assert row is not None  # an aggregate without GROUP BY always gives a row
    return DftCost(**row)


def trained_models(connection: Connection, campaign_id: UUID) -> list[TrainedModel]:
    """Models that were trained in a campaign, with what the promotion gate said of them, oldest first."""
    rows = connection.execute(
        "SELECT role, version, labels, state, verdict FROM models WHERE campaign_id = %s ORDER BY created_at, version",
        (campaign_id,),
    ).fetchall()
    return [TrainedModel(**row) for row in rows]
