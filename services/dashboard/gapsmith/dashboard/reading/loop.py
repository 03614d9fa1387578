"""Everything that the page of one campaign shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from gapsmith.core.domain import Window
from gapsmith.dashboard.problems import Missing
from gapsmith.dashboard.reading.feed import Happening, latest
from gapsmith.store import campaigns, jobs, results, training_runs
from gapsmith.store.database import Connection, Database
from gapsmith.store.job_story import HEARD_WITHIN_S, WORKER
from gapsmith.store.jobs import JobFilter, JobState
from gapsmith.store.results import Results

PACE_S: Final = 300.0  # rates are of the last five minutes
FEED: Final = 40
BIN_EV: Final = 0.2  # of the distributions


@dataclass(frozen=True)
class Pace:
    """How many per minute, over the last five minutes."""

    proposed: float
    scored: float
    labelled: float


@dataclass(frozen=True)
class Workers:
    """The DFT workers of all campaigns."""

    processes: int  # heard of lately
    running: int  # calculations
    utilisation: float | None  # share of their lanes' time that was spent in calculations lately; None without lanes
    services: Sequence[str]  # that were heard of lately


@dataclass(frozen=True)
class Loop:
    """One campaign at one moment."""

    results: Results
    pace: Pace
    queue: Mapping[JobState, int]  # its calculations, triage and certificates
    tasks: Mapping[str, int]  # open units of long work by service
    workers: Workers
    energy_kwh: float | None  # of the trainings of this campaign, as far as it is known
    feed: Sequence[Happening]  # newest first
    charts: str  # changes when the charts do
    best_id: UUID | None  # candidate
    best_molecule_id: int | None

    @property
    def hit_rate(self) -> tuple[float, float, float] | None:
        """Hits per DFT job with its 95 % interval."""
        p = self.results.progress
        return (p.hits / p.dft_done, *results.wilson(p.hits, p.dft_done)) if p.dft_done else None

    @property
    def cpu_hours_per_hit(self) -> float | None:
        """CPU-hours of DFT, failures and certificates included, for each hit."""
        hits = self.results.progress.hits
        return self.results.cost.cpu_s / 3600 / hits if hits else None

    @property
    def failures(self) -> list[tuple[str, int]]:
        """Why DFT jobs failed."""
        return results.failures(self.results.attempts)

    @property
    def error_ev(self) -> tuple[float, int] | None:
        """Mean absolute error of the surrogate on labels that it had not seen, and of how many."""
        return results.mean_absolute_error_ev(self.results.attempts)


_PACE = """
    SELECT (SELECT count(*) FROM candidates WHERE campaign_id = %(id)s
              AND created_at > now() - make_interval(secs => %(span)s)) AS proposed,
           (SELECT count(*) FROM candidates c JOIN conformers f ON f.id = c.relaxed_conformer_id
            WHERE c.campaign_id = %(id)s AND c.state <> 'rejected'
              AND f.created_at > now() - make_interval(secs => %(span)s)) AS scored,
           (SELECT count(*) FROM candidates c JOIN calculations k ON k.id = c.triage_id
            WHERE c.campaign_id = %(id)s AND k.finished_at > now() - make_interval(secs => %(span)s)) AS labelled"""
_BEST = """
    SELECT c.id, c.molecule_id FROM candidates c WHERE c.campaign_id = %(id)s AND c.gap_ev IS NOT NULL
    ORDER BY abs(coalesce(c.certified_gap_ev, c.gap_ev) - %(target)s), c.id LIMIT 1"""
_CHARTS = """
    SELECT (SELECT count(*) FROM predictions p JOIN candidates c ON c.id = p.candidate_id WHERE c.campaign_id = %(id)s) AS n,
           (SELECT max(created_at) FROM models) AS newest"""


def loop(database: Database, name: str) -> Loop:
    """A campaign's page; raises Missing if there is no such campaign."""
    with database.transaction() as connection:
        campaign = find(connection, name)
    found = results.collect(database, campaign)
    with database.transaction() as connection:
        values = {"id": campaign.id, "span": PACE_S, "target": campaign.config.target.value}
        pace = connection.execute(_PACE, values).fetchone()
        best = connection.execute(_BEST, values).fetchone()
        charts = connection.execute(_CHARTS, values).fetchone()
        assert pace is not None  # neither has a FROM
        assert charts is not None
        minutes = max(min(PACE_S, found.progress.elapsed_s), 1.0) / 60
        p, window = found.progress, campaign.config.target.window
        marks = (charts["n"], charts["newest"], p.dft_done, p.hits, p.certificates_done, window, len(found.models))
        return Loop(
            results=found,
            pace=Pace(**{key: count / minutes for key, count in pace.items()}),
            queue=jobs.counts(connection, JobFilter(campaign=name)),
            tasks=open_tasks(connection, campaign.id),
            workers=workers(connection),
            energy_kwh=_energy(connection, campaign.id),
            feed=latest(connection, name, limit=FEED),
            charts=str(abs(hash(marks))),
            best_id=best["id"] if best else None,
            best_molecule_id=best["molecule_id"] if best else None,
        )


def _energy(connection: Connection, campaign_id: UUID) -> float | None:
    known = [
        run.energy_kwh
        for run in training_runs.recent(connection, limit=1000, campaign_id=campaign_id)
        if run.energy_kwh is not None
    ]
    return sum(known) if known else None


def find(connection: Connection, name: str) -> campaigns.Campaign:
    """A campaign by name; raises Missing."""
    found = campaigns.by_name(connection, name)
    if found is None:
        raise Missing(f"no campaign is called {name!r}; it may have been removed. The list of campaigns has all.")
    return found


def open_tasks(connection: Connection, campaign_id: UUID) -> dict[str, int]:
    """Units of long work that wait or run, by service."""
    rows = connection.execute(
        """SELECT service, count(*)::int AS n FROM tasks WHERE campaign_id = %s AND state IN ('pending', 'running')
           GROUP BY service ORDER BY service""",
        (campaign_id,),
    ).fetchall()
    return {row["service"]: row["n"] for row in rows}


def workers(connection: Connection) -> Workers:
    """The DFT workers, and which services are there."""
    beats = connection.execute(
        "SELECT service, count(*)::int AS n FROM heartbeats WHERE seen_at > now() - make_interval(secs => %s) GROUP BY 1",
        (HEARD_WITHIN_S,),
    ).fetchall()
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
        {"span": PACE_S},
    ).fetchone()
    assert row is not None  # an aggregate without GROUP BY always gives a row
    services = {beat["service"]: beat["n"] for beat in beats}
    lanes_s = row["lanes"] * row["span_s"]
    return Workers(
        processes=services.get(WORKER, 0),
        running=row["running"],
        utilisation=min(1.0, row["busy_s"] / lanes_s) if lanes_s > 0 else None,
        services=sorted(services),
    )


@dataclass(frozen=True)
class Distribution:
    """Molecules per bin of the gap."""

    name: str  # whose predictions, or DFT
    counts: dict[float, int]  # by the lower end of the bin, eV


def distributions(connection: Connection, campaign_id: UUID, window: Window) -> list[Distribution]:
    """Predicted gaps of each model version, then DFT gaps, in bins of which the window's lower end is an edge."""
    values = {"id": campaign_id, "low": window.low_ev, "bin": BIN_EV}
    rows = connection.execute(
        """SELECT m.version, floor((p.gap_ev - %(low)s) / %(bin)s + 1e-9)::int AS place, count(*)::int AS n
           FROM predictions p JOIN models m ON m.id = p.model_id JOIN candidates c ON c.id = p.candidate_id
           WHERE c.campaign_id = %(id)s GROUP BY 1, 2 ORDER BY 1, 2""",
        values,
    ).fetchall()
    labels = connection.execute(
        """SELECT floor((gap_ev - %(low)s) / %(bin)s + 1e-9)::int AS place, count(*)::int AS n
           FROM candidates WHERE campaign_id = %(id)s AND gap_ev IS NOT NULL GROUP BY 1 ORDER BY 1""",
        values,
    ).fetchall()
    found: dict[str, dict[float, int]] = {}
    for row in rows:
        found.setdefault(f"surrogate:{row['version']}", {})[_edge(row["place"], window)] = row["n"]
    if labels:
        found["DFT"] = {_edge(row["place"], window): row["n"] for row in labels}
    return [Distribution(name, counts) for name, counts in found.items()]


def _edge(place: int, window: Window) -> float:
    return round(window.low_ev + place * BIN_EV, 6)
