"""DFT labels of campaigns, at the geometries that the surrogate saw."""

import numpy as np

from gapsmith.core.codec import decode
from gapsmith.core.settings import Settings
from gapsmith.store.database import Database
from gapsmith.surrogate.data import Molecules, from_geometries

LABELS = ("gap_ev", "homo_ev", "lumo_ev")


def campaign_labels(settings: Settings) -> Molecules:
    """All of them; raises UnavailableError if no database is named or it cannot be reached."""
    with Database.from_settings(settings, connections=1) as database, database.transaction() as connection:
        rows = connection.execute(
            """SELECT k.gap_ev, k.homo_ev, k.lumo_ev, f.numbers, f.coordinates_angstrom, f.bonds, f.charges
               FROM calculations k JOIN conformers f ON f.id = k.conformer_id
               WHERE k.state = 'done' AND k.gap_ev IS NOT NULL
                 AND EXISTS (SELECT 1 FROM candidates c WHERE c.triage_id = k.id AND c.gap_ev IS NOT NULL)
               ORDER BY k.finished_at, k.id"""
        ).fetchall()
    geometries, targets = [], []
    for row in rows:
        molecule = decode(row["numbers"], row["coordinates_angstrom"], row["bonds"], row["charges"])
        geometries.append((molecule.numbers, molecule.coordinates.astype(np.float32)))
        targets.append({name: float(row[name]) for name in LABELS if row[name] is not None})
    return from_geometries(geometries, targets)
