"""Everything that is known of one candidate: properties as predicted and as computed, geometries, and how it came about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from gapsmith.core.errors import NotFound
from gapsmith.store.database import Connection
from gapsmith.store.query_rows import COLUMNS, CandidateRow, Found, records

if TYPE_CHECKING:  # numpy is heavy
    from gapsmith.core.domain import Molecule


@dataclass(frozen=True)
class Judgement:
    """What one version of the surrogate said."""

    model: str  # e.g. surrogate:3
    model_id: UUID
    live: bool
    gap_ev: float
    gap_std_ev: float
    out_of_distribution: bool
    at: datetime


@dataclass(frozen=True)
class Computed:
    """A calculation of the candidate."""

    job_id: UUID
    role: str  # triage or certificate
    state: str
    level: str
    gap_ev: float | None
    homo_ev: float | None
    lumo_ev: float | None
    energy_hartree: float | None
    dipole_debye: float | None
    extra: Mapping[str, Any]  # whatever else the engine gave
    findings: Sequence[str]
    rearranged: str | None
    failure_class: str | None
    failure_reason: str | None
    host: str | None
    wall_s: float | None
    cpu_s: float | None
    attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True)
class Geometry:
    """Atoms of the candidate at one stage."""

    kind: str  # generated, relaxed or certified
    conformer_id: UUID
    method: str
    energy_hartree: float | None
    molecule: "Molecule"


@dataclass(frozen=True)
class Property:
    """One property, predicted beside computed. None stands for what is not known (yet)."""

    name: str
    unit: str
    predicted: float | None
    deviation: float | None  # standard deviation of the prediction
    xtb: float | None
    triage: float | None  # DFT at the GFN2-xTB geometry
    certificate: float | None  # DFT at the DFT geometry


@dataclass(frozen=True)
class Step:
    """Something that happened to the candidate."""

    at: datetime
    what: str  # proposed, scored, judged again, queued, computing, computed, failed, or the state it is in
    detail: str
    model: str | None = None
    job_id: UUID | None = None


@dataclass(frozen=True)
class CandidateStory:
    """A candidate with everything around it."""

    row: CandidateRow
    parent_id: UUID | None  # what it was regrown from
    parent_molecule_id: int | None
    parent_smiles: str | None
    mask_fraction: float | None  # how much of the parent was redrawn
    proposed_by: str | None  # model
    children: int  # regrown from it
    judgements: Sequence[Judgement]  # oldest first
    calculations: Sequence[Computed]
    properties: Sequence[Property]
    geometries: Sequence[Geometry]  # in the order in which they were made
    timeline: Sequence[Step]


@dataclass(frozen=True)
class Elsewhere:
    """A candidate with the same molecule."""

    id: UUID
    campaign: str
    state: str
    outcome: str | None


_CANDIDATE = """
    SELECT c.parent_id, p.molecule_id AS parent_molecule_id, pm.smiles AS parent_smiles, c.mask_fraction,
           g.kind || ':' || g.version AS proposed_by, c.state, c.reason,
           (SELECT count(*) FROM candidates child WHERE child.parent_id = c.id) AS children, c.created_at, c.updated_at,
           c.conformer_id, c.relaxed_conformer_id, c.certified_conformer_id, c.triage_id, c.certificate_id
    FROM candidates c LEFT JOIN candidates p ON p.id = c.parent_id LEFT JOIN molecules pm ON pm.id = p.molecule_id
    LEFT JOIN models g ON g.id = c.model_id WHERE c.id = %s"""
_JUDGEMENTS = """
    SELECT m.kind || ':' || m.version AS model, m.id AS model_id, m.state = 'live' AS live, p.gap_ev, p.gap_std_ev,
           p.out_of_distribution, p.created_at AS at
    FROM predictions p JOIN models m ON m.id = p.model_id WHERE p.candidate_id = %s ORDER BY p.created_at, m.version"""
_CALCULATION = """
    SELECT id AS job_id, state, level, gap_ev, homo_ev, lumo_ev, energy_hartree, dipole_debye,
           coalesce(result, '{}') AS extra, findings, rearranged, failure_class, failure_reason, host, wall_s, cpu_s,
           attempts, created_at, started_at, finished_at
    FROM calculations WHERE id = %s"""
_PROPERTIES: Final = (  # name, unit, column of a calculation
    ("HOMO-LUMO gap", "eV", "gap_ev"),
    ("HOMO energy", "eV", "homo_ev"),
    ("LUMO energy", "eV", "lumo_ev"),
    ("dipole moment", "debye", "dipole_debye"),
    ("energy", "hartree", "energy_hartree"),
)


def story(connection: Connection, candidate_id: UUID) -> CandidateStory:
    """Everything of one candidate; raises NotFound if there is none of that id."""
    known = connection.execute(_CANDIDATE, (candidate_id,)).fetchone()
    rows = records(connection, [Found(candidate_id, None, None)], COLUMNS)
    if known is None or not rows:
        raise NotFound(f"no candidate has the id {candidate_id}")
    row = CandidateRow(**rows[0])
    judgements = [Judgement(**one) for one in connection.execute(_JUDGEMENTS, (candidate_id,))]
    calculations = []
    for role in ("triage", "certificate"):
        if known[f"{role}_id"] is not None:
            found = connection.execute(_CALCULATION, (known[f"{role}_id"],)).fetchone()
            assert found is not None  # the candidate refers to it
            calculations.append(Computed(role=role, **found))
    return CandidateStory(
        row=row,
        **{
            name: known[name]
            for name in ("parent_id", "parent_molecule_id", "parent_smiles", "mask_fraction", "proposed_by", "children")
        },
        judgements=judgements,
        calculations=calculations,
        properties=_properties(row, calculations),
        geometries=_geometries(connection, known),
        timeline=_timeline(known, row, judgements, calculations),
    )


def elsewhere(connection: Connection, candidate_id: UUID) -> list[Elsewhere]:
    """Candidates with the same molecule that were not rejected, newest first, ten at most."""
    rows = connection.execute(
        """SELECT o.id, g.name AS campaign, o.state, v.outcome FROM candidates c
           JOIN candidates o ON o.molecule_id = c.molecule_id AND o.id <> c.id AND o.state <> 'rejected'
           JOIN campaigns g ON g.id = o.campaign_id LEFT JOIN candidate_outcomes v ON v.candidate_id = o.id
           WHERE c.id = %s ORDER BY o.created_at DESC LIMIT 10""",
        (candidate_id,),
    ).fetchall()
    return [Elsewhere(**row) for row in rows]


def _properties(row: CandidateRow, calculations: Sequence[Computed]) -> list[Property]:
    done = {one.role: one for one in calculations if one.state == "done"}
    found = []
    for name, unit, column in _PROPERTIES:
        gap = column == "gap_ev"
        found.append(
            Property(
                name,
                unit,
                row.predicted_gap_ev if gap else None,
                row.predicted_gap_std_ev if gap else None,
                row.xtb_gap_ev if gap else None,
                getattr(done.get("triage"), column, None),
                getattr(done.get("certificate"), column, None),
            )
        )
    return found


def _geometries(connection: Connection, known: Mapping[str, Any]) -> list[Geometry]:
    from gapsmith.store import conformers  # numpy, which a query can do without

    ids = {
        "generated": known["conformer_id"],
        "relaxed": known["relaxed_conformer_id"],
        "certified": known["certified_conformer_id"],
    }
    stored = conformers.several(connection, [one for one in ids.values() if one is not None])
    found = {kind: stored[conformer_id] for kind, conformer_id in ids.items() if conformer_id is not None}
    return [Geometry(kind, one.id, one.method, one.energy_hartree, one.molecule) for kind, one in found.items()]


def _timeline(
    known: Mapping[str, Any], row: CandidateRow, judgements: Sequence[Judgement], calculations: Sequence[Computed]
) -> list[Step]:
    how = "drawn anew"
    if known["parent_id"] is not None:
        part = f", {known['mask_fraction']:.0%} of it redrawn" if known["mask_fraction"] is not None else ""
        how = f"regrown from {known['parent_smiles']}{part}"
    steps = [Step(row.created_at, "proposed", how, model=known["proposed_by"])]
    for number, one in enumerate(judgements):
        words = f"gap {one.gap_ev:.2f} ± {one.gap_std_ev:.2f} eV" + (
            ", unlike the training data" if one.out_of_distribution else ""
        )
        steps.append(Step(one.at, "judged again" if number else "scored", words, model=one.model))
    for job in calculations:
        steps += _steps_of(job)
    if row.state in ("rejected", "failed", "withdrawn", "certified"):
        steps.append(Step(known["updated_at"], row.state, row.reason or ""))
    return sorted(steps, key=lambda step: step.at)


def _steps_of(job: Computed) -> list[Step]:
    steps = [Step(job.created_at, "queued", f"{job.role}, {job.level}", job_id=job.job_id)]
    if job.started_at is not None:
        steps.append(Step(job.started_at, "computing", f"{job.role}, attempt {job.attempts}", job_id=job.job_id))
    if job.finished_at is not None and job.state == "done":
        gap = "" if job.gap_ev is None else f": gap {job.gap_ev:.3f} eV"
        steps.append(Step(job.finished_at, "computed", f"{job.role}{gap}", job_id=job.job_id))
    elif job.finished_at is not None:
        reason = f": {job.failure_reason}" if job.failure_reason else ""
        steps.append(Step(job.finished_at, job.state, f"{job.role}{reason}", job_id=job.job_id))
    return steps
