"""Everything that is known of one candidate: properties as predicted and as computed, geometries, and how it came about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from gapsmith.core.errors import NotFound
from gapsmith.core.properties import Property as Kind
from gapsmith.core.properties import get, registered
from gapsmith.store.database import Connection
from gapsmith.store.query_model import CandidateQuery
from gapsmith.store.query_rows import Found, records

if TYPE_CHECKING:  # numpy is heavy
    from gapsmith.core.domain import Molecule


@dataclass(frozen=True)
class Judgement:
    """What one version of the surrogate said."""

    model: str  # e.g. surrogate:3
    model_id: UUID
    live: bool
    properties: Mapping[str, Mapping[str, float]]  # mean, std, low and high by property
    out_of_distribution: bool
    at: datetime


@dataclass(frozen=True)
class Computed:
    """A calculation of the candidate."""

    job_id: UUID
    role: str  # triage or certificate
    state: str
    level: str
    properties: Mapping[str, float]  # value by name
    energy_hartree: float | None
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
    predicted: float | None = None
    deviation: float | None = None  # standard deviation of the prediction
    low: float | None = None  # ends of its 90 % interval
    high: float | None = None
    xtb: float | None = None
    triage: float | None = None  # DFT at the GFN2-xTB geometry
    certificate: float | None = None  # DFT at the DFT geometry


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

    row: Mapping[str, Any]  # columns by name
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
           g.role || ':' || g.version AS proposed_by, c.state, c.reason,
           (SELECT count(*) FROM candidates child WHERE child.parent_id = c.id) AS children, c.created_at, c.updated_at,
           c.conformer_id, c.relaxed_conformer_id, c.certified_conformer_id, c.triage_id, c.certificate_id,
           w.config #>> '{target,0,property}' AS property
    FROM candidates c JOIN campaigns w ON w.id = c.campaign_id
    LEFT JOIN candidates p ON p.id = c.parent_id LEFT JOIN molecules pm ON pm.id = p.molecule_id
    LEFT JOIN models g ON g.id = c.model_id WHERE c.id = %s"""
_JUDGEMENTS = """
    SELECT m.role || ':' || m.version AS model, m.id AS model_id, m.state = 'live' AS live, p.properties,
           p.out_of_distribution, p.created_at AS at
    FROM predictions p JOIN models m ON m.id = p.model_id WHERE p.candidate_id = %s ORDER BY p.created_at, m.version"""
_CALCULATION = """
    SELECT id AS job_id, state, level, properties, energy_hartree,
           coalesce(result, '{}') AS extra, findings, rearranged, failure_class, failure_reason, host, wall_s, cpu_s,
           attempts, created_at, started_at, finished_at
    FROM calculations WHERE id = %s"""


def story(connection: Connection, candidate_id: UUID) -> CandidateStory:
    """Everything of one candidate; raises NotFound if there is none of that id."""
    known = connection.execute(_CANDIDATE, (candidate_id,)).fetchone()
    rows = records(connection, [Found(candidate_id, None, None)], CandidateQuery().columns)
    if known is None or not rows:
        raise NotFound(f"no candidate has the id {candidate_id}")
    row = rows[0]
    judgements = [Judgement(**one) for one in connection.execute(_JUDGEMENTS, (candidate_id,))]
    calculations = []
    for role in ("triage", "certificate"):
        if known[f"{role}_id"] is not None:
            found = connection.execute(_CALCULATION, (known[f"{role}_id"],)).fetchone()
            assert found is not None  # the candidate refers to it
            calculations.append(Computed(role=role, **found))
    geometries, by_xtb = _geometries(connection, known)
    return CandidateStory(
        row=row,
        **{
            name: known[name]
            for name in ("parent_id", "parent_molecule_id", "parent_smiles", "mask_fraction", "proposed_by", "children")
        },
        judgements=judgements,
        calculations=calculations,
        properties=_properties(by_xtb, judgements, calculations),
        geometries=geometries,
        timeline=_timeline(known, get(known["property"]), row, judgements, calculations),
    )


def elsewhere(connection: Connection, candidate_id: UUID) -> list[Elsewhere]:
    """Candidates with the same molecule that were not rejected, newest first, ten at most."""
    rows = connection.execute(
        """SELECT o.id, g.name AS campaign, o.state, o.outcome FROM candidates c
           JOIN candidates o ON o.molecule_id = c.molecule_id AND o.id <> c.id AND o.state <> 'rejected'
           JOIN campaigns g ON g.id = o.campaign_id
           WHERE c.id = %s ORDER BY o.created_at DESC LIMIT 10""",
        (candidate_id,),
    ).fetchall()
    return [Elsewhere(**row) for row in rows]


def _properties(
    known: Mapping[str, float], judgements: Sequence[Judgement], calculations: Sequence[Computed]
) -> list[Property]:
    """Whatever is known of each property; ``known`` is by GFN2-xTB. The live model's prediction counts, else the newest."""
    said: Mapping[str, Mapping[str, float]] = {}
    for one in judgements:
        said = one.properties
        if one.live:
            break
    done = {one.role: one for one in calculations if one.state == "done"}
    values = {role: one.properties for role, one in done.items()}
    rows = [
        Property(
            one.title,
            one.unit,
            predicted=said.get(name, {}).get("mean"),
            deviation=said.get(name, {}).get("std"),
            low=said.get(name, {}).get("low"),
            high=said.get(name, {}).get("high"),
            xtb=known.get(name),
            triage=values.get("triage", {}).get(name),
            certificate=values.get("certificate", {}).get(name),
        )
        for name, one in registered().items()
    ]
    for title, field in (("Energy", "energy_hartree"), ("Zero-point energy", "zero_point_energy_hartree")):
        found = {role: {**one.extra, "energy_hartree": one.energy_hartree}.get(field) for role, one in done.items()}
        rows.append(Property(title, "hartree", triage=found.get("triage"), certificate=found.get("certificate")))
    return [row for row in rows if any(v is not None for v in (row.predicted, row.xtb, row.triage, row.certificate))]


def _geometries(connection: Connection, known: Mapping[str, Any]) -> tuple[list[Geometry], Mapping[str, float]]:
    """All there are, and what GFN2-xTB says of the relaxed one."""
    from gapsmith.store import conformers  # numpy, which a query can do without

    ids = {
        "generated": known["conformer_id"],
        "relaxed": known["relaxed_conformer_id"],
        "certified": known["certified_conformer_id"],
    }
    stored = conformers.several(connection, [one for one in ids.values() if one is not None])
    found = {kind: stored[conformer_id] for kind, conformer_id in ids.items() if conformer_id is not None}
    geometries = [Geometry(kind, one.id, one.method, one.energy_hartree, one.molecule) for kind, one in found.items()]
    return geometries, found["relaxed"].properties if "relaxed" in found else {}


def _timeline(
    known: Mapping[str, Any],
    target: Kind,
    row: Mapping[str, Any],
    judgements: Sequence[Judgement],
    calculations: Sequence[Computed],
) -> list[Step]:
    how = "drawn from scratch"
    if known["parent_id"] is not None:
        part = f", {known['mask_fraction']:.0%} of it redrawn" if known["mask_fraction"] is not None else ""
        how = f"regrown from {known['parent_smiles']}{part}"
    steps = [Step(row["created_at"], "proposed", how, model=known["proposed_by"])]
    for number, one in enumerate(judgements):
        value = one.properties.get(target.name)
        words = "" if value is None else _with_unit(target, f"{value['mean']:.2f} ± {value['std']:.2f}")
        words += ", unlike the training data" if one.out_of_distribution else ""
        steps.append(Step(one.at, "judged again" if number else "scored", words, model=one.model))
    for job in calculations:
        steps += _steps_of(job, target)
    if row["state"] in ("rejected", "failed", "withdrawn", "certified"):
        steps.append(Step(known["updated_at"], row["state"], row["reason"] or ""))
    return sorted(steps, key=lambda step: step.at)


def _with_unit(target: Kind, text: str) -> str:
    return f"{target.title} {text} {target.unit}".rstrip()


def _steps_of(job: Computed, target: Kind) -> list[Step]:
    steps = [Step(job.created_at, "queued", f"{job.role}, {job.level}", job_id=job.job_id)]
    if job.started_at is not None:
        steps.append(Step(job.started_at, "computing", f"{job.role}, attempt {job.attempts}", job_id=job.job_id))
    if job.finished_at is not None and job.state == "done":
        value = job.properties.get(target.name)
        found = "" if value is None else f": {_with_unit(target, f'{value:.3f}')}"
        steps.append(Step(job.finished_at, "computed", f"{job.role}{found}", job_id=job.job_id))
    elif job.finished_at is not None:
        reason = f": {job.failure_reason}" if job.failure_reason else ""
        steps.append(Step(job.finished_at, job.state, f"{job.role}{reason}", job_id=job.job_id))
    return steps
