"""The columns of an answer: how they are called, what they mean, where they come from."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from gapsmith.store.database import Connection


class Found(NamedTuple):
    """A candidate that a search has found."""

    id: UUID
    key: Any  # what it is sorted by
    similarity: float | None


@dataclass(frozen=True)
class CandidateRow:
    """One candidate of one campaign; the fields' names carry the units."""

    smiles: str
    inchikey: str
    formula: str
    campaign: str
    state: str
    gap_ev: float | None  # DFT
    gap_level: str | None  # "certificate" or "triage", its label's role; level_of_theory says what that was
    outcome: str | None  # hit_by_label, hit_by_certificate or missed, with regard to the campaign's window
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
    level_of_theory: str | None  # of gap_ev: its title, as core.levels writes it
    geometry: str  # method of the best geometry there is
    created_at: datetime
    candidate_id: UUID
    molecule_id: int
    conformer_id: UUID  # of that geometry
    similarity: float | None = None  # Tanimoto, to the molecule asked for


ALL_COLUMNS: Final = tuple(field.name for field in fields(CandidateRow))
SIMILARITY: Final = "similarity"
COLUMNS: Final = tuple(name for name in ALL_COLUMNS if name != SIMILARITY)
EXPRESSIONS: Final = {
    "smiles": "m.smiles",
    "inchikey": "m.inchikey",
    "formula": "m.formula",
    "campaign": "g.name",
    "state": "c.state",
    "gap_ev": "c.best_gap_ev",
    "gap_level": "CASE WHEN c.certified_gap_ev IS NOT NULL THEN 'certificate' WHEN c.gap_ev IS NOT NULL THEN 'triage' END",
    "outcome": "v.outcome",
    "predicted_gap_ev": "c.predicted_gap_ev",
    "predicted_gap_std_ev": "c.predicted_gap_std_ev",
    "out_of_distribution": "c.out_of_distribution",
    "xtb_gap_ev": "c.xtb_gap_ev",
    "homo_ev": "k.homo_ev",
    "lumo_ev": "k.lumo_ev",
    "dipole_debye": "k.dipole_debye",
    "heavy_atoms": "m.heavy_atoms",
    "sa_score": "m.sa_score",
    "in_qm9": "m.in_qm9",
    "reason": "c.reason",
    "level_of_theory": """g.levels #>> CASE WHEN c.certified_gap_ev IS NOT NULL THEN '{certificate,title}'::text[]
                          WHEN c.gap_ev IS NOT NULL THEN '{triage,title}'::text[] END""",
    "geometry": "c.geometry",
    "created_at": "c.created_at",
    "candidate_id": "c.id",
    "molecule_id": "c.molecule_id",
    "conformer_id": "coalesce(c.certified_conformer_id, c.relaxed_conformer_id, c.conformer_id)",
    SIMILARITY: "o.similarity",
}
_FROM = """
    FROM unnest(%(ids)s::uuid[], %(similarities)s::float8[]) WITH ORDINALITY AS o (id, similarity, place)
    JOIN candidates c ON c.id = o.id JOIN molecules m ON m.id = c.molecule_id"""
_JOINS: Final = {  # by alias, where a column needs it
    "v.": "LEFT JOIN candidate_outcomes v ON v.candidate_id = c.id",
    "g.": "JOIN campaigns g ON g.id = c.campaign_id",
    "k.": """LEFT JOIN calculations k ON k.id = CASE WHEN c.certified_gap_ev IS NOT NULL THEN c.certificate_id
                                                     WHEN c.gap_ev IS NOT NULL THEN c.triage_id END""",
}
_DATE: Final = "to_char(c.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"+00:00\"')"


def statement(columns: Sequence[str], *, text: bool = False) -> str:
    """SELECT of columns of found candidates, in their order; ``parameters`` has its values.

    Args:
        columns: of ``ALL_COLUMNS``; raises KeyError for another.
        text: all as texts, written like ``core.output.plain`` does.
    """
    chosen = [EXPRESSIONS[name] for name in columns]
    joins = [join for alias, join in _JOINS.items() if any(expression.startswith(alias) for expression in chosen)]
    if text:
        chosen = [_DATE if name == "created_at" else f"({EXPRESSIONS[name]})::text" for name in columns]
    named = ", ".join(f"{expression} AS {name}" for expression, name in zip(chosen, columns, strict=True))
    return "\n".join([f"SELECT {named}", _FROM, *joins, "ORDER BY o.place"])


def parameters(found: Sequence[Found]) -> dict[str, Any]:
    """Values of ``statement``."""
    return {"ids": [one.id for one in found], "similarities": [one.similarity for one in found]}


def records(connection: Connection, found: Sequence[Found], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Columns of found candidates, in their order."""
    return connection.execute(statement(columns), parameters(found)).fetchall()
