"""What a candidate's page shows beside its story: other calculations of the molecule, and other campaigns that have it."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from gapsmith.store import candidate_story, job_story
from gapsmith.store.campaigns import Campaign, by_name
from gapsmith.store.candidate_story import CandidateStory, Elsewhere
from gapsmith.store.database import Connection
from gapsmith.store.job_story import Story

MOST_JOBS = 20


@dataclass(frozen=True)
class Orbital:
    """A cube file."""

    name: str  # homo or lumo
    calculation_id: UUID
    conformer_id: UUID  # the geometry that it belongs to
    file: str


@dataclass(frozen=True)
class Candidate:
    """A candidate's story and what surrounds it."""

    story: CandidateStory
    campaign: Campaign
    jobs: Sequence[Story]  # calculations of the molecule, whoever asked for them, newest first
    elsewhere: Sequence[Elsewhere]

    @property
    def counting(self) -> str:
        """The values that count of all that the campaign wants, for people."""
        target, row = self.campaign.config.target, self.story.row
        return target.shown({one.name: row[one.column] for one in target.properties if row[one.column] is not None}, 3)

    @property
    def orbitals(self) -> list[Orbital]:
        """Cube files of frontier orbitals; of each the newest."""
        found: dict[str, Orbital] = {}
        for job in self.jobs:
            for file in job.files:
                name = file.name.removesuffix(".cube")
                if file.name.endswith(".cube") and name not in found:
                    found[name] = Orbital(name, job.id, job.final_conformer_id, file.name)
        return sorted(found.values(), key=lambda orbital: orbital.name)

    @property
    def spectra(self) -> Story | None:
        """The newest calculation with frequencies or excitations."""
        wanted = ("wavenumbers_cm1", "excitations")
        return next((job for job in self.jobs if any(job.extra.get(name) for name in wanted)), None)


def candidate(connection: Connection, candidate_id: UUID) -> Candidate:
    """Everything of one candidate; raises InputError if there is none of that id."""
    found = candidate_story.story(connection, candidate_id)
    campaign = by_name(connection, found.row["campaign"])
    assert campaign is not None  # the candidate refers to it
    asked = [one.job_id for one in found.calculations]
    jobs = job_story.of_molecule(connection, found.row["molecule_id"], asked, limit=MOST_JOBS)
    return Candidate(
        story=found,
        campaign=campaign,
        jobs=jobs,
        elsewhere=candidate_story.elsewhere(connection, candidate_id),
    )
