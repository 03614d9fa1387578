"""Labels to train on: DFT results of campaigns' candidates."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

import numpy as np

from gapsmith.core.codec import decode
from gapsmith.core.properties import registered
from gapsmith.store.database import Connection

_COLUMNS: Final = {name: one.column for name, one in registered().items() if not one.heads}  # others follow from these
TARGETS: Final = tuple(_COLUMNS.values())


@dataclass(frozen=True)
class Label:
    """One DFT calculation of a campaign's candidate."""

    calculation_id: UUID
    numbers: np.ndarray  # (atoms,) uint8, atomic numbers
    coordinates: np.ndarray  # (atoms, 3) float32, angstrom, as GFN2-xTB relaxed them
    targets: dict[str, float]  # those of TARGETS that are known
    confirmed: bool = False  # by another route of the SCF, because it was surprising
    level: str = ""  # title of the level of theory that the campaign asked for


def collect(connection: Connection, campaign_id: UUID | None = None) -> list[Label]:
    """Labels of all campaigns, oldest first; what several candidates share counts once.

    The geometry is that of the triage calculation, as GFN2-xTB relaxed it: what the surrogate sees of a new candidate. Where
    the level searched for conformers it is the lowest one's, to which the label belongs.

    Args:
        connection: in a transaction.
        campaign_id: only labels of the level of theory that this campaign labels with; none: of every level.
    """
    rows = connection.execute(
        """SELECT k.id, k.properties, coalesce(k.result, '{}') ? 'confirmed_by' AS confirmed,
                  f.numbers, f.coordinates_angstrom, f.bonds, f.charges, asked.level
           FROM calculations k
           JOIN conformers f ON f.id = CASE WHEN k.result ? 'ensemble' THEN k.result_conformer_id ELSE k.conformer_id END
           CROSS JOIN LATERAL (
               SELECT g.levels #>> '{triage,title}' AS level FROM candidates c JOIN campaigns g ON g.id = c.campaign_id
               WHERE c.triage_id = k.id AND c.label_value IS NOT NULL AND (%(campaign)s::uuid IS NULL
                   OR g.levels #>> '{triage,version}' = (
                       SELECT levels #>> '{triage,version}' FROM campaigns WHERE id = %(campaign)s))
               ORDER BY g.created_at LIMIT 1) AS asked
           WHERE k.state = 'done' AND k.properties <> '{}'
           ORDER BY k.finished_at, k.id""",
        {"campaign": campaign_id},
    ).fetchall()
    found = []
    for row in rows:
        molecule = decode(row["numbers"], row["coordinates_angstrom"], row["bonds"], row["charges"])
        targets = {_COLUMNS[name]: float(value) for name, value in row["properties"].items() if name in _COLUMNS}
        coordinates = molecule.coordinates.astype(np.float32)
        found.append(Label(row["id"], molecule.numbers, coordinates, targets, row["confirmed"], row["level"]))
    return found
