"""Labels to train on: DFT results of campaigns' candidates."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

import numpy as np

from gapsmith.core.codec import decode
from gapsmith.store.database import Connection

TARGETS: Final = ("gap_ev", "homo_ev", "lumo_ev")


@dataclass(frozen=True)
class Label:
    """One DFT calculation of a campaign's candidate."""

    calculation_id: UUID
    numbers: np.ndarray  # (atoms,) uint8, atomic numbers
    coordinates: np.ndarray  # (atoms, 3) float32, angstrom, as GFN2-xTB relaxed them
    targets: dict[str, float]  # those of TARGETS that are known
    level: str = ""  # title of the level of theory that the campaign asked for


def collect(connection: Connection, campaign_id: UUID | None = None) -> list[Label]:
    """Labels of all campaigns, oldest first; what several candidates share counts once.

    The geometry is that of the triage calculation, as GFN2-xTB relaxed it: what the surrogate sees of a new candidate.

    Args:
        connection: in a transaction.
        campaign_id: only labels of the level of theory that this campaign labels with; none: of every level.
    """
    rows = connection.execute(
        """SELECT k.id, k.gap_ev, k.homo_ev, k.lumo_ev, f.numbers, f.coordinates_angstrom, f.bonds, f.charges, asked.level
           FROM calculations k JOIN conformers f ON f.id = k.conformer_id
           CROSS JOIN LATERAL (
               SELECT g.levels #>> '{triage,title}' AS level FROM candidates c JOIN campaigns g ON g.id = c.campaign_id
               WHERE c.triage_id = k.id AND c.gap_ev IS NOT NULL AND (%(campaign)s::uuid IS NULL
                   OR g.levels #>> '{triage,version}' = (
                       SELECT levels #>> '{triage,version}' FROM campaigns WHERE id = %(campaign)s))
               ORDER BY g.created_at LIMIT 1) AS asked
           WHERE k.state = 'done' AND k.gap_ev IS NOT NULL
           ORDER BY k.finished_at, k.id""",
        {"campaign": campaign_id},
    ).fetchall()
    found = []
    for row in rows:
        molecule = decode(row["numbers"], row["coordinates_angstrom"], row["bonds"], row["charges"])
        targets = {name: float(row[name]) for name in TARGETS if row[name] is not None}
        coordinates = molecule.coordinates.astype(np.float32)
        found.append(Label(row["id"], molecule.numbers, coordinates, targets, row["level"]))
    return found
