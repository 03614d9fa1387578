"""Candidates, their molecules, conformers and predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from gapsmith.core.codec import decode, encode
from gapsmith.core.domain import Molecule
from gapsmith.core.lifecycle import CandidateState
from gapsmith.store import fingerprints
from gapsmith.store.database import Connection

if TYPE_CHECKING:  # RDKit is heavy, and the query command must not pay for it
    from gapsmith.core.chemistry.identity import Identity


@dataclass(frozen=True)
class Prediction:
    """What the surrogate says of one candidate."""

    candidate_id: UUID
    gap_ev: float
    gap_std_ev: float
    out_of_distribution: bool


def add_molecule(connection: Connection, identity: "Identity", *, in_qm9: bool) -> int:
    """Find or store a molecule by InChIKey; returns its id."""
    new = connection.execute(
        """INSERT INTO molecules (inchikey, smiles, formula, heavy_atoms, sa_score, in_qm9, fingerprint)
           VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (inchikey) DO NOTHING RETURNING id""",
        (
            identity.inchikey,
            identity.smiles,
            identity.formula,
            identity.heavy_atoms,
            identity.sa_score,
            in_qm9,
            identity.fingerprint,
        ),
    ).fetchone()
    if new is not None:
        fingerprints.store(connection, [(new["id"], identity.smiles, identity.fingerprint)])
        return int(new["id"])
    row = connection.execute("SELECT id FROM molecules WHERE inchikey = %s", (identity.inchikey,)).fetchone()
    assert row is not None  # it was there before
    return int(row["id"])


def smiles(connection: Connection, molecule_ids: Sequence[int]) -> dict[int, str]:
    """Canonical SMILES of those of the molecules that there are."""
    rows = connection.execute("SELECT id, smiles FROM molecules WHERE id = ANY(%s)", (list(molecule_ids),))
    return {row["id"]: row["smiles"] for row in rows}


def add_conformer(
    connection: Connection,
    molecule: Molecule,
    *,
    method: str,
    molecule_id: int | None,
    energy_hartree: float | None = None,
    xtb_gap_ev: float | None = None,
) -> UUID:
    """Store a geometry and say how it was made; returns its id."""
    conformer_id = uuid4()
    connection.execute(
        """INSERT INTO conformers (id, molecule_id, method, numbers, coordinates_angstrom, bonds, charges,
                                   energy_hartree, xtb_gap_ev) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        (
            conformer_id,
            molecule_id,
            method,
            *encode(molecule),
            energy_hartree,
            xtb_gap_ev,
        ),
    )
    return conformer_id


def propose(
    connection: Connection,
    campaign_id: UUID,
    molecule: Molecule,
    identity: "Identity",
    *,
    model_id: UUID,
    in_qm9: bool,
    refused: str | None = None,
    parent_id: UUID | None = None,
    mask_fraction: float | None = None,
) -> tuple[UUID, bool]:
    """Store a generated molecule as a candidate.

    Args:
        connection: in a transaction.
        campaign_id: whose candidate it is.
        molecule: as generated.
        identity: its graph.
        model_id: of the generator.
        in_qm9: whether QM9 has it.
        refused: why the campaign's constraints refuse it, if they do.
        parent_id: what it was regrown from.
        mask_fraction: how much of the parent was redrawn.

    Returns:
        Its id, and whether it is open (neither refused nor known in this campaign already).
    """
    molecule_id = add_molecule(connection, identity, in_qm9=in_qm9)
    conformer_id = add_conformer(connection, molecule, method="generated", molecule_id=molecule_id)
    candidate_id = uuid4()
    insert = """INSERT INTO candidates (id, campaign_id, molecule_id, conformer_id, model_id, parent_id, mask_fraction,
                                        state, reason) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
                ON CONFLICT DO NOTHING RETURNING id"""
    values = (candidate_id, campaign_id, molecule_id, conformer_id, model_id, parent_id, mask_fraction)
    if refused is None:
        if connection.execute(insert, (*values, CandidateState.PROPOSED, None)).fetchone():
            return candidate_id, True
        refused = "duplicate"
    connection.execute(insert, (*values, CandidateState.REJECTED, refused))
    return candidate_id, False


def to_score(connection: Connection, candidate_ids: Sequence[UUID]) -> list[tuple[UUID, Molecule, int]]:
    """Those of the candidates that are still proposed: id, generated geometry, molecule id."""
    rows = connection.execute(
        """SELECT c.id, c.molecule_id, f.numbers, f.coordinates_angstrom, f.bonds, f.charges
           FROM candidates c JOIN conformers f ON f.id = c.conformer_id
           WHERE c.id = ANY(%s) AND c.state = 'proposed' ORDER BY c.created_at, c.id""",
        (list(candidate_ids),),
    ).fetchall()
    return [(row["id"], _molecule(row), int(row["molecule_id"])) for row in rows]


def reject(connection: Connection, candidate_id: UUID, reason: str) -> None:
    """Refuse a proposed candidate."""
    connection.execute(
        "UPDATE candidates SET state = 'rejected', reason = %s, updated_at = now() WHERE id = %s AND state = 'proposed'",
        (reason, candidate_id),
    )


def score(connection: Connection, relaxed_conformer_id: UUID, prediction: Prediction, model_id: UUID) -> None:
    """Store a candidate's relaxed geometry and first prediction."""
    connection.execute(
        """UPDATE candidates SET state = 'scored', relaxed_conformer_id = %s, updated_at = now()
           WHERE id = %s AND state = 'proposed'""",
        (relaxed_conformer_id, prediction.candidate_id),
    )
    _add_predictions(connection, [prediction], model_id)


def predict(connection: Connection, predictions: Sequence[Prediction], model_id: UUID) -> None:
    """Store predictions of one model version, of candidates in whichever campaigns; these are locked first, as everywhere."""
    connection.execute(
        """SELECT 1 FROM campaigns WHERE id IN (SELECT campaign_id FROM candidates WHERE id = ANY(%s))
           ORDER BY id FOR NO KEY UPDATE""",
        ([p.candidate_id for p in predictions],),
    )
    _add_predictions(connection, predictions, model_id)


def _add_predictions(connection: Connection, predictions: Sequence[Prediction], model_id: UUID) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO predictions (candidate_id, model_id, gap_ev, gap_std_ev, out_of_distribution)
               VALUES (%s, %s, %s, %s, %s) ON CONFLICT (candidate_id, model_id) DO NOTHING""",
            [(p.candidate_id, model_id, p.gap_ev, p.gap_std_ev, p.out_of_distribution) for p in predictions],
        )


def to_rescore(connection: Connection, model_id: UUID) -> list[tuple[UUID, UUID, Molecule]]:
    """Candidates of open campaigns that wait for DFT and that a model has not judged: id, campaign, relaxed geometry."""
    rows = connection.execute(
        """SELECT c.id, c.campaign_id, f.numbers, f.coordinates_angstrom, f.bonds, f.charges
           FROM candidates c JOIN conformers f ON f.id = c.relaxed_conformer_id
           JOIN campaigns g ON g.id = c.campaign_id AND g.state IN ('running', 'paused')
           WHERE c.state IN ('scored', 'selected')
             AND NOT EXISTS (SELECT 1 FROM predictions p WHERE p.candidate_id = c.id AND p.model_id = %s)""",
        (model_id,),
    ).fetchall()
    return [(row["id"], row["campaign_id"], _molecule(row)) for row in rows]


def relaxed(connection: Connection, candidate_ids: Sequence[UUID]) -> list[tuple[UUID, Molecule]]:
    """Best relaxed geometry of candidates (parents to regrow): id and molecule with bonds, in no order."""
    rows = connection.execute(
        """SELECT c.id, f.numbers, f.coordinates_angstrom, f.bonds, f.charges
           FROM candidates c JOIN conformers f
             ON f.id = coalesce(c.certified_conformer_id, c.relaxed_conformer_id)
           WHERE c.id = ANY(%s)""",
        (list(candidate_ids),),
    ).fetchall()
    return [(row["id"], _molecule(row)) for row in rows]


def reopen(connection: Connection, campaign_id: UUID, reason: str) -> None:
    """Let what the end of a campaign took back, for its ``reason``, be chosen and certified again."""
    connection.execute(
        """UPDATE candidates SET state = 'scored', triage_id = NULL, reason = NULL, updated_at = now()
           WHERE campaign_id = %s AND state = 'withdrawn' AND reason = %s""",
        (campaign_id, reason),
    )
    connection.execute(
        """UPDATE candidates SET certificate_id = NULL, reason = NULL, updated_at = now()
           WHERE campaign_id = %s AND state = 'labelled' AND reason = %s""",
        (campaign_id, f"certificate withdrawn: {reason}"),
    )


def counts(connection: Connection, campaign_id: UUID) -> dict[str, int]:
    """Number of candidates by state."""
    rows = connection.execute(
        "SELECT state, count(*) AS n FROM candidates WHERE campaign_id = %s GROUP BY state", (campaign_id,)
    ).fetchall()
    return {row["state"]: int(row["n"]) for row in rows}


def _molecule(row: dict[str, Any]) -> Molecule:
    return decode(row["numbers"], row["coordinates_angstrom"], row["bonds"], row["charges"])
