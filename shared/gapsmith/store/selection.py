"""Candidates as services take them up: to score, to judge again, to choose for DFT, to certify, to regrow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from gapsmith.store.database import Connection

if TYPE_CHECKING:  # numpy is heavy
    from gapsmith.core.domain import Molecule


@dataclass(frozen=True)
class Waiting:
    """A candidate that waits for DFT, with what the newest model says of it."""

    id: UUID
    queued: bool  # requested already, not begun
    properties: Mapping[str, Mapping[str, float]]  # mean and std of each of the target's
    correlations: Mapping[str, float]  # of the errors of pairs of properties: core.properties.pair
    out_of_distribution: bool


@dataclass(frozen=True)
class Foretold:
    """A label, and what the model said of the molecule before."""

    predicted: Mapping[str, Mapping[str, float]]  # mean and std by property
    labels: Mapping[str, float]  # by property


@dataclass(frozen=True)
class Structure:
    """A candidate's relaxed geometry, as a calculation needs it."""

    conformer_id: UUID
    method: str
    molecule: "Molecule"


def waiting(
    connection: Connection, campaign_id: UUID, properties: Sequence[str], *, queued: Sequence[UUID] = ()
) -> list[Waiting]:
    """A campaign's scored candidates of which all ``properties`` are predicted, and ``queued`` ones with them, as created.

    While a newly promoted model is still judging, what it has not come to yet keeps its last prediction.
    """
    rows = connection.execute(
        """SELECT c.id, c.state = 'selected' AS queued, p.properties, p.correlations, p.out_of_distribution
           FROM candidates c
           JOIN LATERAL (SELECT p.properties, p.correlations, p.out_of_distribution
                         FROM predictions p JOIN models m ON m.id = p.model_id
                         WHERE p.candidate_id = c.id AND p.properties ?& %(properties)s
                         ORDER BY (m.state = 'live') DESC, m.version DESC LIMIT 1) p ON true
           WHERE c.campaign_id = %(campaign)s AND (c.state = 'scored' OR c.id = ANY(%(queued)s))
           ORDER BY c.created_at, c.id""",
        {"campaign": campaign_id, "properties": list(properties), "queued": list(queued)},
    ).fetchall()
    return [Waiting(**row) for row in rows]


def foretold(connection: Connection, campaign_id: UUID, most: int) -> list[Foretold]:
    """A campaign's latest labels, oldest first, with the predictions that stood when each was computed."""
    rows = connection.execute(
        """SELECT p.properties AS predicted, t.properties AS labels
           FROM candidates c JOIN calculations t ON t.id = c.triage_id AND t.state = 'done'
           JOIN LATERAL (SELECT p.properties FROM predictions p WHERE p.candidate_id = c.id AND p.created_at <= t.finished_at
                         ORDER BY p.created_at DESC LIMIT 1) p ON true
           WHERE c.campaign_id = %s ORDER BY t.finished_at DESC, c.id LIMIT %s""",
        (campaign_id, most),
    ).fetchall()
    return [Foretold(**row) for row in reversed(rows)]


def nearest(connection: Connection, campaign_id: UUID, most: int) -> list[UUID]:
    """Labelled candidates, those whose values that count are nearest to the target first."""
    rows = connection.execute(
        """SELECT id FROM candidates WHERE campaign_id = %s AND violation IS NOT NULL
           ORDER BY violation, id LIMIT %s""",
        (campaign_id, most),
    ).fetchall()
    return [row["id"] for row in rows]


def hits(connection: Connection, campaign_id: UUID) -> list[Mapping[str, float]]:
    """The values that count of a campaign's hits, by property."""
    rows = connection.execute(
        """SELECT coalesce(k.properties, t.properties) AS properties FROM candidates c
           JOIN calculations t ON t.id = c.triage_id
           LEFT JOIN calculations k ON k.id = c.certificate_id AND c.state = 'certified'
           WHERE c.campaign_id = %s AND c.violation <= 0""",
        (campaign_id,),
    ).fetchall()
    return [row["properties"] for row in rows]


def fingerprints(connection: Connection, candidate_ids: Sequence[UUID]) -> list[bytes]:
    """Morgan fingerprints of candidates, in their order."""
    rows = connection.execute(
        "SELECT c.id, m.fingerprint FROM candidates c JOIN molecules m ON m.id = c.molecule_id WHERE c.id = ANY(%s)",
        (list(candidate_ids),),
    ).fetchall()
    by_id: dict[UUID, bytes] = {row["id"]: row["fingerprint"] for row in rows}
    return [by_id[candidate] for candidate in candidate_ids]


def chosen_fingerprints(connection: Connection, campaign_id: UUID, *, but: Sequence[UUID] = ()) -> list[bytes]:
    """Morgan fingerprints of what the campaign has computed or is computing."""
    rows = connection.execute(
        """SELECT m.fingerprint FROM candidates c JOIN molecules m ON m.id = c.molecule_id
           WHERE c.campaign_id = %s AND c.state IN ('selected', 'labelled', 'certified', 'failed')
             AND c.id <> ALL(%s)""",
        (campaign_id, list(but)),
    ).fetchall()
    return [row["fingerprint"] for row in rows]


def not_begun(connection: Connection, campaign_id: UUID) -> dict[UUID, UUID]:
    """Selected candidates whose calculations are queued: theirs by candidate, locked until the transaction ends."""
    rows = connection.execute(
        """SELECT c.id, c.triage_id FROM candidates c JOIN calculations k ON k.id = c.triage_id
           WHERE c.campaign_id = %s AND c.state = 'selected' AND k.state = 'queued'
           ORDER BY k.id FOR UPDATE OF k SKIP LOCKED""",  # who holds its row is about to begin it
        (campaign_id,),
    ).fetchall()
    return {row["id"]: row["triage_id"] for row in rows}


def uncertified(connection: Connection, campaign_id: UUID) -> list[UUID]:
    """Hits whose certificates were not asked for, oldest label first."""
    rows = connection.execute(
        """SELECT id FROM candidates WHERE campaign_id = %s AND outcome = 'hit_by_label' AND certificate_id IS NULL
           ORDER BY updated_at, id""",
        (campaign_id,),
    ).fetchall()
    return [row["id"] for row in rows]


def idle_certificates(connection: Connection, campaign_id: UUID) -> dict[UUID, UUID]:
    """Certificates that nobody has begun, of candidates that are hits no longer: by candidate, locked."""
    rows = connection.execute(
        """SELECT c.id, c.certificate_id FROM candidates c JOIN calculations k ON k.id = c.certificate_id
           WHERE c.campaign_id = %s AND c.state = 'labelled' AND c.outcome IS NULL AND k.state = 'queued'
           ORDER BY k.id FOR UPDATE OF k SKIP LOCKED""",
        (campaign_id,),
    ).fetchall()
    return {row["id"]: row["certificate_id"] for row in rows}


def structure(connection: Connection, candidate_id: UUID) -> Structure:
    """The relaxed geometry of a candidate that was scored; its lowest conformer, if its label's level searched for that."""
    row = connection.execute(
        """SELECT f.id, f.method, f.numbers, f.coordinates_angstrom, f.bonds, f.charges
           FROM candidates c LEFT JOIN calculations k ON k.id = c.triage_id AND k.state = 'done' AND k.result ? 'ensemble'
           JOIN conformers f ON f.id = coalesce(k.result_conformer_id, c.relaxed_conformer_id) WHERE c.id = %s""",
        (candidate_id,),
    ).fetchone()
    assert row is not None  # scored candidates have a relaxed geometry
    return Structure(row["id"], row["method"], _molecule(row))


def to_score(connection: Connection, candidate_ids: Sequence[UUID]) -> "list[tuple[UUID, Molecule, int]]":
    """Those of the candidates that are still proposed: id, generated geometry, molecule id."""
    rows = connection.execute(
        """SELECT c.id, c.molecule_id, f.numbers, f.coordinates_angstrom, f.bonds, f.charges
           FROM candidates c JOIN conformers f ON f.id = c.conformer_id
           WHERE c.id = ANY(%s) AND c.state = 'proposed' ORDER BY c.created_at, c.id""",
        (list(candidate_ids),),
    ).fetchall()
    return [(row["id"], _molecule(row), int(row["molecule_id"])) for row in rows]


def to_rescore(connection: Connection, model_id: UUID) -> "list[tuple[UUID, UUID, Molecule]]":
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


def relaxed(connection: Connection, candidate_ids: Sequence[UUID]) -> "list[tuple[UUID, Molecule]]":
    """Best relaxed geometry of candidates (parents to regrow): id and molecule with bonds, in no order."""
    rows = connection.execute(
        """SELECT c.id, f.numbers, f.coordinates_angstrom, f.bonds, f.charges
           FROM candidates c JOIN conformers f
             ON f.id = coalesce(c.certified_conformer_id, c.relaxed_conformer_id)
           WHERE c.id = ANY(%s)""",
        (list(candidate_ids),),
    ).fetchall()
    return [(row["id"], _molecule(row)) for row in rows]


def _molecule(row: dict[str, Any]) -> "Molecule":
    from gapsmith.core.codec import decode

    return decode(row["numbers"], row["coordinates_angstrom"], row["bonds"], row["charges"])
