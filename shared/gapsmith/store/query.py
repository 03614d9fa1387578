"""The one way to question candidates: a validated query, parametrised SQL, typed rows."""

import difflib
import math
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Self
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row
from pydantic import BaseModel, ConfigDict, Field, model_validator

from gapsmith.core.domain import CandidateState
from gapsmith.core.errors import InputError
from gapsmith.store.database import Connection

if TYPE_CHECKING:  # numpy and RDKit are heavy, and most questions need neither
    from collections.abc import Collection

    from gapsmith.core.domain import Molecule


class Range(BaseModel):
    """A closed range, open where an end is None."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.low is None and self.high is None:
            raise ValueError("a range needs at least one end")
        if any(end is not None and not math.isfinite(end) for end in (self.low, self.high)):
            raise ValueError("the ends of a range must be finite numbers")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"{self.low:g}:{self.high:g} runs backwards")
        return self

    @classmethod
    def parse(cls, text: str, field: str) -> Self:
        """Read ``3.9:4.1``, ``:4.1`` or ``3.9:``; raises InputError naming the field."""
        low, colon, high = (part.strip() for part in text.partition(":"))
        try:
            if not colon:
                raise ValueError("a range has a colon")
            return cls(low=float(low) if low else None, high=float(high) if high else None)
        except ValueError as error:  # pydantic's error is one
            raise InputError(f"{field}: {text!r} is no range; write for example 3.9:4.1, :4.1 or 3.9:") from error


class SortKey(StrEnum):
    """What rows can be sorted by; rows without a value come last."""

    GAP = "gap"
    PREDICTED = "predicted"
    UNCERTAINTY = "uncertainty"
    XTB_GAP = "xtb_gap"
    SA_SCORE = "sa_score"
    HEAVY_ATOMS = "heavy_atoms"
    CREATED = "created"


class CandidateQuery(BaseModel):
    """Which candidates, in which order. What is None does not restrict."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    campaign: str | None = Field(None, description="name of a campaign")
    states: tuple[CandidateState, ...] = Field((), description="any of these; none: all")
    hits: bool = Field(False, description="only with a DFT gap inside the campaign's window")
    gap_ev: Range | None = Field(None, description="DFT gap: certified if there is one, else the label")
    predicted_gap_ev: Range | None = Field(None, description="the surrogate's mean")
    heavy_atoms: Range | None = Field(None, description="atoms other than hydrogen")
    smarts: str | None = Field(None, description="substructure")
    sort: SortKey = SortKey.CREATED
    descending: bool = False
    limit: Annotated[int, Field(gt=0)] | None = Field(None, description="at most so many rows")


@dataclass(frozen=True)
class CandidateRow:
    """One candidate of one campaign; the fields' names carry the units."""

    smiles: str
    inchikey: str
    formula: str
    campaign: str
    state: str
    gap_ev: float | None  # DFT
    gap_level: str | None  # "certificate" (at the DFT geometry) or "triage" (at the xTB geometry)
    predicted_gap_ev: float | None
    predicted_gap_std_ev: float | None
    out_of_distribution: bool | None  # the surrogate's warning
    xtb_gap_ev: float | None
    homo_ev: float | None
    lumo_ev: float | None
    dipole_debye: float | None
    heavy_atoms: int
    sa_score: float
    in_qm9: bool
    reason: str | None  # of rejected, failed, withdrawn
    level_of_theory: str | None  # of gap_ev
    geometry: str  # method of the best geometry there is
    created_at: datetime
    candidate_id: UUID
    molecule_id: int
    conformer_id: UUID  # of that geometry


COLUMNS = tuple(field.name for field in fields(CandidateRow))

_SELECT = sql.SQL(
    """
SELECT m.smiles, m.inchikey, m.formula, g.name AS campaign, c.state,
       coalesce(c.certified_gap_ev, c.gap_ev) AS gap_ev,
       CASE WHEN c.certified_gap_ev IS NOT NULL THEN 'certificate'
            WHEN c.gap_ev IS NOT NULL THEN 'triage' END AS gap_level,
       p.gap_ev AS predicted_gap_ev, p.gap_std_ev AS predicted_gap_std_ev, p.out_of_distribution,
       r.xtb_gap_ev, k.homo_ev, k.lumo_ev, k.dipole_debye,
       m.heavy_atoms, m.sa_score, m.in_qm9, c.reason, k.level AS level_of_theory,
       f.method AS geometry, c.created_at, c.id AS candidate_id, m.id AS molecule_id, f.id AS conformer_id
FROM candidates c
JOIN campaigns g ON g.id = c.campaign_id
JOIN molecules m ON m.id = c.molecule_id
JOIN conformers f ON f.id = coalesce(c.certified_conformer_id, c.relaxed_conformer_id, c.conformer_id)
LEFT JOIN conformers r ON r.id = c.relaxed_conformer_id
LEFT JOIN calculations k ON k.id = CASE WHEN c.certified_gap_ev IS NOT NULL THEN c.certificate_id
                                        WHEN c.gap_ev IS NOT NULL THEN c.triage_id END
LEFT JOIN LATERAL (
    SELECT gap_ev, gap_std_ev, out_of_distribution
    FROM predictions JOIN models ON models.id = predictions.model_id
    WHERE predictions.candidate_id = c.id
    ORDER BY (models.state = 'live') DESC, models.version DESC LIMIT 1
) p ON true
"""
)
_GAP = sql.SQL("coalesce(c.certified_gap_ev, c.gap_ev)")
_PREDICTED = sql.SQL("p.gap_ev")
_HEAVY_ATOMS = sql.SQL("m.heavy_atoms")
_SORT = {
    SortKey.GAP: _GAP,
    SortKey.PREDICTED: _PREDICTED,
    SortKey.UNCERTAINTY: sql.SQL("p.gap_std_ev"),
    SortKey.XTB_GAP: sql.SQL("r.xtb_gap_ev"),
    SortKey.SA_SCORE: sql.SQL("m.sa_score"),
    SortKey.HEAVY_ATOMS: _HEAVY_ATOMS,
    SortKey.CREATED: sql.SQL("c.created_at"),
}
_IN_WINDOW = sql.SQL(
    "abs({gap} - (g.config #>> '{{target,value}}')::float8) <= (g.config #>> '{{target,tolerance}}')::float8 + 1e-9"
).format(gap=_GAP)


def find(connection: Connection, query: CandidateQuery) -> list[CandidateRow]:
    """Candidates that a query selects.

    Raises:
        InputError: there is no such campaign, or the SMARTS is invalid.
    """
    if query.smarts is not None:
        from gapsmith.core.screening import compile_smarts

        compile_smarts(query.smarts, "smarts")
    if query.campaign is not None:
        _check_campaign(connection, query.campaign)
    statement, parameters = compose(query)
    with connection.cursor(row_factory=class_row(CandidateRow)) as cursor:
        rows = cursor.execute(statement, parameters).fetchall()
    return rows if query.smarts is None else _matching(rows, query.smarts)[: query.limit]


def compose(query: CandidateQuery) -> tuple[sql.Composed, dict[str, Any]]:
    """SQL of a query and its parameters; ``find`` sees to a SMARTS, which Postgres cannot read, and its limit."""
    conditions: list[sql.Composable] = []
    parameters: dict[str, Any] = {}
    if query.campaign is not None:
        conditions.append(sql.SQL("g.name = {}").format(sql.Placeholder("campaign")))
        parameters["campaign"] = query.campaign
    if query.states:
        conditions.append(sql.SQL("c.state = ANY({})").format(sql.Placeholder("states")))
        parameters["states"] = [str(state) for state in query.states]
    if query.hits:
        conditions.append(_IN_WINDOW)
    for name, expression in (("gap_ev", _GAP), ("predicted_gap_ev", _PREDICTED), ("heavy_atoms", _HEAVY_ATOMS)):
        wanted: Range | None = getattr(query, name)
        for end, comparison in (("low", sql.SQL(">=")), ("high", sql.SQL("<="))):
            value = getattr(wanted, end) if wanted else None
            if value is not None:
                placeholder = sql.Placeholder(f"{name}_{end}")
                conditions.append(sql.SQL(" ").join((expression, comparison, placeholder)))
                parameters[f"{name}_{end}"] = value
    parts: list[sql.Composable] = [_SELECT]
    if conditions:
        parts.append(sql.SQL("WHERE ") + sql.SQL(" AND ").join(conditions))
    direction = sql.SQL("DESC" if query.descending else "ASC")
    parts.append(sql.SQL("ORDER BY {} {} NULLS LAST, c.created_at, c.id").format(_SORT[query.sort], direction))
    if query.limit is not None and query.smarts is None:
        parts.append(sql.SQL("LIMIT {}").format(sql.Placeholder("limit")))
        parameters["limit"] = query.limit
    return sql.SQL("\n").join(parts), parameters


def geometries(connection: Connection, conformer_ids: "Collection[UUID]") -> "dict[UUID, Molecule]":
    """Molecules with coordinates and bonds by conformer id; raises DataError if one is damaged."""
    from gapsmith.core.codec import decode

    rows = connection.execute(
        "SELECT id, numbers, coordinates_angstrom, bonds, charges FROM conformers WHERE id = ANY(%s)",
        (list(conformer_ids),),
    ).fetchall()
    return {row.pop("id"): decode(**row) for row in rows}


def _matching(rows: list[CandidateRow], smarts: str) -> list[CandidateRow]:
    from rdkit import Chem

    from gapsmith.core.screening import matches

    return [row for row in rows if matches(Chem.MolFromSmiles(row.smiles), smarts)]


def _check_campaign(connection: Connection, name: str) -> None:
    names = [row["name"] for row in connection.execute("SELECT name FROM campaigns ORDER BY created_at")]
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        hint = f"did you mean {near[0]!r}?"
    else:
        hint = f"there are: {', '.join(names[-20:])}" if names else "there is none yet; start one with: gapsmith run"
    raise InputError(f"campaign: no campaign is called {name!r}; {hint}")
