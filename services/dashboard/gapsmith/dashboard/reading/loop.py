"""Everything that the page of one campaign shows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from gapsmith.dashboard.reading.feed import Happening, latest
from gapsmith.store import campaigns, distributions, heartbeats, jobs, results, tasks, throughput, training_runs
from gapsmith.store.database import Connection, Database
from gapsmith.store.jobs import JobFilter, JobState
from gapsmith.store.results import Results

PACE_S: Final = 300.0  # rates are of the last five minutes
FEED: Final = 40


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
        return results.mean_absolute_error(self.results.attempts)


def loop(database: Database, name: str) -> Loop:
    """A campaign's page; raises NotFound if there is no such campaign."""
    with database.transaction() as connection:
        campaign = campaigns.named(connection, name)
    found = results.collect(database, campaign)
    with database.transaction() as connection:
        recent = throughput.throughput(connection, campaign.id, PACE_S)
        minutes = max(min(PACE_S, found.progress.elapsed_s), 1.0) / 60
        p, target = found.progress, campaign.config.target
        predictions = distributions.mark(connection, campaign.id)
        marks = (predictions, p.dft_done, p.hits_by_kind, p.certificates_done, str(target), len(found.models))
        return Loop(
            results=found,
            pace=Pace(recent.proposed / minutes, recent.scored / minutes, recent.labelled / minutes),
            queue=jobs.counts(connection, JobFilter(campaign=name)),
            tasks=tasks.open_by_service(connection, campaign.id),
            workers=workers(connection),
            energy_kwh=_energy(connection, campaign.id),
            feed=latest(connection, name, limit=FEED),
            charts=str(abs(hash(marks))),
        )


def _energy(connection: Connection, campaign_id: UUID) -> float | None:
    known = [
        run.energy_kwh
        for run in training_runs.recent(connection, limit=1000, campaign_id=campaign_id)
        if run.energy_kwh is not None
    ]
    return sum(known) if known else None


def workers(connection: Connection) -> Workers:
    """The DFT workers, and which services are there."""
    services = Counter(beat.service for beat in heartbeats.alive(connection))
    now = throughput.utilisation(connection, PACE_S)
    return Workers(
        processes=services[heartbeats.DFT_WORKER],
        running=now.running,
        utilisation=now.busy,
        services=sorted(services),
    )
