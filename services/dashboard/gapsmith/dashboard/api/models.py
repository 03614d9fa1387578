"""What the API answers, as models: they make its documentation."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from pydantic import BaseModel, Field, create_model

from gapsmith.core import columns
from gapsmith.core.campaign import CampaignConfig
from gapsmith.core.chemistry.elements import SYMBOLS
from gapsmith.core.domain import Level
from gapsmith.core.levels import LevelOfTheory
from gapsmith.core.target import Target
from gapsmith.store.candidate_story import CandidateStory, Computed, Judgement, Property, Step
from gapsmith.store.events import StoredEvent
from gapsmith.store.jobs import Job
from gapsmith.store.progress import Progress

_COLUMNS: Final[dict[str, Any]] = {
    one.name: (one.type | None, Field(None, title=one.title, description=one.description or None))
    for one in columns.ALL
}
if TYPE_CHECKING:
    Candidate = BaseModel
else:
    Candidate = create_model(
        "Candidate", __doc__="Columns of a candidate; with ``fields`` only those. Units stand in the names.", **_COLUMNS
    )


class CandidatePage(BaseModel):
    """A page of an answer."""

    items: list[Candidate]
    next: str | None = Field(description="cursor of the next page; null: this was the last")


class Atoms(BaseModel):
    """A geometry."""

    kind: str = Field(description="generated, relaxed or certified")
    conformer_id: UUID
    method: str
    energy_hartree: float | None
    symbols: list[str]
    coordinates_angstrom: list[tuple[float, float, float]]
    charges: list[int] = Field(description="formal, of each atom")
    bonds: list[tuple[int, int, int]] = Field(description="first atom, second atom, order (kekulised)")


class CandidateDetail(BaseModel):
    """Everything of one candidate."""

    candidate: Candidate
    parent_id: UUID | None = Field(description="what it was regrown from")
    parent_smiles: str | None
    mask_fraction: float | None = Field(description="how much of the parent was redrawn")
    proposed_by: str | None = Field(description="model")
    children: int = Field(description="candidates regrown from it")
    properties: Sequence[Property]
    predictions: Sequence[Judgement]
    calculations: Sequence[Computed]
    timeline: Sequence[Step]
    geometries: list[Atoms]


def candidate_detail(story: CandidateStory) -> CandidateDetail:
    """A story as the API tells it."""
    atoms = [
        Atoms(
            kind=one.kind,
            conformer_id=one.conformer_id,
            method=one.method,
            energy_hartree=one.energy_hartree,
            symbols=[SYMBOLS[number] for number in one.molecule.numbers.tolist()],
            coordinates_angstrom=one.molecule.coordinates.tolist(),
            charges=one.molecule.charges.tolist(),
            bonds=one.molecule.bonds.tolist(),
        )
        for one in story.geometries
    ]
    return CandidateDetail(
        candidate=Candidate.model_validate(story.row),
        parent_id=story.parent_id,
        parent_smiles=story.parent_smiles,
        mask_fraction=story.mask_fraction,
        proposed_by=story.proposed_by,
        children=story.children,
        properties=story.properties,
        predictions=story.judgements,
        calculations=story.calculations,
        timeline=story.timeline,
        geometries=atoms,
    )


class CampaignLine(BaseModel):
    """A campaign in the list."""

    name: str
    id: UUID
    state: str = Field(description="running, paused, finished or stopped")
    stop_reason: str | None
    stop_code: str | None = Field(description="why it ended, to count by")
    target: Target
    elapsed_s: float = Field(description="running time, without pauses")
    created_at: datetime
    ended_at: datetime | None
    candidates: dict[str, int] = Field(description="number by state")


class CampaignList(BaseModel):
    """All campaigns."""

    items: list[CampaignLine]


class PinnedLevel(BaseModel):
    """A level of theory that a campaign keeps."""

    title: str = Field(description="as it stands with every number")
    version: str = Field(description="hash of what decides a result")
    definition: LevelOfTheory


class CampaignDetail(CampaignLine):
    """A campaign with its document and where it stands."""

    config: CampaignConfig
    levels: dict[Level, PinnedLevel] = Field(description="of theory, by role, as they were when the campaign began")
    progress: Progress


class NewBudget(BaseModel):
    """What of a campaign's budget changes; what it has used counts."""

    model_config = {"extra": "forbid"}

    dft_jobs: int | None = Field(None, gt=0, description="triage calculations, those that are done included")
    wall_time: str | int | None = Field(
        None, description="running time, the past included: seconds, or 90s, 15m, 1h30m"
    )
    wanted_hits: int | None = Field(None, gt=0, description="enough hits, those that are found included")


class JobPage(BaseModel):
    """A page of jobs."""

    items: list[Job]
    next: str | None = Field(description="cursor of the next page; null: this was the last")
    counts: dict[str, int] = Field(description="number of all selected by state")


class JobChange(BaseModel):
    """What a command did."""

    changed: list[UUID] = Field(description="jobs; empty if the job was in no state to be changed")


class ModelLine(BaseModel):
    """A model in the registry."""

    id: UUID
    role: str
    version: int
    state: str
    parent_version: int | None
    labels: int = Field(description="campaign labels it was trained on")
    metrics: Mapping[str, Any]
    verdict: str | None = Field(description="of the promotion gate")
    campaign: str | None
    sha256: str
    created_at: datetime
    live_since: datetime | None


class ModelList(BaseModel):
    """Models, newest first."""

    items: list[ModelLine]


class EventPage(BaseModel):
    """Events, oldest first."""

    items: list[StoredEvent]
    next: int | None = Field(description="'after' of the next page; null: there are no more yet")
