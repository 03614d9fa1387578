"""What a candidate's page shows beside its story: other calculations of the molecule, and other campaigns that have it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from gapsmith.store import candidate_story, job_story
from gapsmith.store.campaigns import Campaign, by_name
from gapsmith.store.candidate_story import CandidateStory
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
    parent_molecule_id: int | None
    jobs: Sequence[Story]  # calculations of the molecule, whoever asked for them, newest first
    elsewhere: Sequence[Mapping[str, Any]]  # candidates with the same molecule in other campaigns

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
    campaign = by_name(connection, found.row.campaign)
    assert campaign is not None  # the candidate refers to it
    asked = [one.job_id for one in found.calculations]
    jobs = connection.execute(
        """SELECT k.id FROM calculations k JOIN conformers f ON f.id = k.conformer_id
           WHERE f.molecule_id = %s OR k.id = ANY(%s) ORDER BY k.created_at DESC, k.id LIMIT %s""",
        (found.row.molecule_id, asked, MOST_JOBS),
    ).fetchall()
    parent = connection.execute("SELECT molecule_id FROM candidates WHERE id = %s", (found.parent_id,)).fetchone()
    elsewhere = connection.execute(
        """SELECT c.id, g.name AS campaign, c.state FROM candidates c JOIN campaigns g ON g.id = c.campaign_id
           WHERE c.molecule_id = %s AND c.id <> %s AND c.state <> 'rejected' ORDER BY c.created_at DESC LIMIT 10""",
        (found.row.molecule_id, candidate_id),
    ).fetchall()
    return Candidate(
        story=found,
        campaign=campaign,
        parent_molecule_id=parent["molecule_id"] if parent else None,
        jobs=[job_story.story(connection, row["id"]) for row in jobs],
        elsewhere=elsewhere,
    )
