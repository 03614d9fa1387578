"""What a progress display needs of a campaign, in one cheap batch of queries."""

from dataclasses import dataclass
from uuid import UUID

from gapsmith.core.messages import CandidatesProposed
from gapsmith.store import campaigns
from gapsmith.store.database import Connection


@dataclass(frozen=True)
class Best:
    """The molecule whose DFT gap is nearest to the target."""

    candidate_id: UUID
    molecule_id: int
    smiles: str
    gap_ev: float
    level: str  # triage or certificate


@dataclass(frozen=True)
class Progress:
    """Where a campaign stands. ``cli.display`` shows it."""

    state: str
    stop_reason: str | None
    sampled: int  # molecules drawn by the generator
    waiting_to_score: int
    waiting: int  # scored, not selected
    rejected: int  # no molecule, forbidden, known already, or broken by the relaxation
    rejected_by_reason: dict[str, int]
    dft_budget: int
    dft_done: int  # triage calculations that ended, well or not
    dft_running: int
    dft_queued: int
    dft_failed: int
    certifies: bool
    certificates_done: int
    certificates_open: int
    hits: int  # labelled inside the window, certified ones included
    certified_hits: int
    best: Best | None
    model_version: int
    last_verdict: str | None
    elapsed_s: float
    wall_time_s: float
    first_dft_at_s: float | None  # seconds after the start of the campaign


_COUNTS = """
    SELECT count(*) FILTER (WHERE c.state = 'proposed') AS waiting_to_score,
           count(*) FILTER (WHERE c.state = 'scored') AS waiting,
           count(*) FILTER (WHERE c.state IN ('labelled', 'certified', 'failed')) AS dft_done,
           count(*) FILTER (WHERE c.state = 'selected' AND t.state = 'running') AS dft_running,
           count(*) FILTER (WHERE c.state = 'selected' AND t.state = 'queued') AS dft_queued,
           count(*) FILTER (WHERE c.state = 'failed') AS dft_failed,
           count(*) FILTER (WHERE k.state IN ('done', 'failed')) AS certificates_done,
           count(*) FILTER (WHERE c.state = 'labelled' AND k.state IN ('queued', 'running')) AS certificates_open,
           count(*) FILTER (WHERE c.gap_ev BETWEEN %(low)s AND %(high)s) AS hits,
           count(*) FILTER (WHERE c.certified_gap_ev BETWEEN %(low)s AND %(high)s) AS certified_hits,
           extract(epoch FROM min(t.started_at) - %(created_at)s)::float8 AS first_dft_at_s
    FROM candidates c
    LEFT JOIN calculations t ON t.id = c.triage_id
    LEFT JOIN calculations k ON k.id = c.certificate_id
    WHERE c.campaign_id = %(campaign)s"""

_REASONS = """
    SELECT reason, sum(n)::int AS n FROM (
        SELECT reason, count(*) AS n FROM candidates WHERE campaign_id = %(campaign)s AND state = 'rejected'
        GROUP BY reason
        UNION ALL
        SELECT refused.key, sum(refused.value::bigint) FROM outbox,
               jsonb_each_text(envelope #> '{data,refused}') AS refused
        WHERE topic = %(proposed)s AND outbox.key = %(campaign)s::text GROUP BY refused.key) AS refusals
    GROUP BY reason ORDER BY n DESC, reason"""

_BEST = """
    SELECT c.id AS candidate_id, c.molecule_id, m.smiles, coalesce(c.certified_gap_ev, c.gap_ev) AS gap_ev,
           CASE WHEN c.certified_gap_ev IS NULL THEN 'triage' ELSE 'certificate' END AS level
    FROM candidates c JOIN molecules m ON m.id = c.molecule_id
    WHERE c.campaign_id = %(campaign)s AND c.gap_ev IS NOT NULL
    ORDER BY abs(coalesce(c.certified_gap_ev, c.gap_ev) - %(target)s), c.id LIMIT 1"""

_REST = """
    SELECT (SELECT coalesce(sum((envelope #>> '{data,sampled}')::bigint), 0) FROM outbox
            WHERE topic = %(proposed)s AND key = %(campaign)s::text)::bigint AS sampled,
           (SELECT version FROM models WHERE kind = 'surrogate' AND state = 'live') AS model_version,
           (SELECT verdict FROM models WHERE campaign_id = %(campaign)s AND kind = 'surrogate' AND verdict IS NOT NULL
            ORDER BY created_at DESC, version DESC LIMIT 1) AS last_verdict"""


def progress(connection: Connection, campaign_id: UUID) -> Progress:
    """Where a campaign stands now; raises InputError if there is none of that id."""
    campaign = campaigns.get(connection, campaign_id)
    config, window = campaign.config, campaign.config.target.window
    values = {
        "campaign": campaign_id,
        "low": window.low_ev,
        "high": window.high_ev,
        "target": window.value_ev,
        "created_at": campaign.created_at,
        "proposed": CandidatesProposed.TOPIC,
    }
    counts = connection.execute(_COUNTS, values).fetchone()
    rest = connection.execute(_REST, values).fetchone()
    assert counts is not None  # an aggregate without GROUP BY always gives a row
    assert rest is not None
    first_dft_at_s = counts.pop("first_dft_at_s")
    reasons = {row["reason"]: row["n"] for row in connection.execute(_REASONS, values)}
    best = connection.execute(_BEST, values).fetchone()
    version = rest.pop("model_version")
    return Progress(
        state=campaign.state,
        stop_reason=campaign.stop_reason,
        **counts,
        **rest,
        rejected=sum(reasons.values()),
        rejected_by_reason=reasons,
        dft_budget=config.budget.dft_jobs,
        certifies=config.dft.certify,
        best=Best(**best) if best else None,
        model_version=0 if version is None else version,
        elapsed_s=campaign.elapsed_s,
        wall_time_s=config.budget.wall_time.total_seconds(),
        # a calculation that was shared with an earlier campaign began before this one did
        first_dft_at_s=None if first_dft_at_s is None else max(first_dft_at_s, 0.0),
    )


@dataclass(frozen=True)
class Attempt:
    """A DFT job of a campaign that has ended, and what came of it."""

    candidate_id: UUID
    smiles: str
    in_qm9: bool
    sa_score: float
    state: str  # labelled, certified or failed
    reason: str | None  # why it, or its certificate, failed
    gap_ev: float | None  # DFT at the GFN2-xTB geometry
    certified_gap_ev: float | None  # DFT at the DFT geometry
    predicted_gap_ev: float | None  # before the label was known
    predicted_gap_std_ev: float | None


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

    kind: str
    version: int
    labels: int
    state: str
    verdict: str | None


def attempts(connection: Connection, campaign_id: UUID) -> list[Attempt]:
    """All DFT jobs of a campaign that have ended, in the order in which they did."""
    rows = connection.execute(
        """SELECT c.id AS candidate_id, m.smiles, m.in_qm9, m.sa_score, c.state, c.reason, c.gap_ev, c.certified_gap_ev,
                  p.gap_ev AS predicted_gap_ev, p.gap_std_ev AS predicted_gap_std_ev
           FROM candidates c JOIN molecules m ON m.id = c.molecule_id JOIN calculations k ON k.id = c.triage_id
           LEFT JOIN LATERAL (SELECT p.gap_ev, p.gap_std_ev FROM predictions p JOIN models ON models.id = p.model_id
                              WHERE p.candidate_id = c.id ORDER BY models.version DESC LIMIT 1) p ON true
           WHERE c.campaign_id = %s AND c.state IN ('labelled', 'certified', 'failed')
           ORDER BY k.finished_at, c.id""",
        (campaign_id,),
    ).fetchall()
    return [Attempt(**row) for row in rows]


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
        "SELECT kind, version, labels, state, verdict FROM models WHERE campaign_id = %s ORDER BY created_at, version",
        (campaign_id,),
    ).fetchall()
    return [TrainedModel(**row) for row in rows]
