"""Candidates with labels, as a campaign would have left them in the database."""

from uuid import UUID, uuid4

import numpy as np
from values import computed

from gapsmith.core import codec
from gapsmith.core.domain import Molecule
from gapsmith.store import candidates
from gapsmith.store.database import Connection
from gapsmith.store.labels import Label


def store(connection: Connection, campaign_id: UUID, label: Label, age_minutes: int) -> UUID:
    """A labelled candidate; the calculation's id is the label's."""
    atoms = len(label.numbers)
    molecule = Molecule(label.numbers, label.coordinates, np.zeros(atoms, np.int8), np.zeros((0, 3), np.int16))
    conformer, candidate = uuid4(), uuid4()
    connection.execute(
        """INSERT INTO conformers (id, method, numbers, coordinates_angstrom, bonds, charges)
           VALUES (%s, 'gfn2-xtb', %s, %s, %s, %s)""",
        (conformer, *codec.encode(molecule)),
    )
    gap = label.targets["gap_ev"]
    connection.execute(
        """INSERT INTO calculations (id, content_hash, level, conformer_id, state, gap_ev, homo_ev, lumo_ev, properties,
                                     finished_at)
           VALUES (%s, %s, 'triage', %s, 'done', %s, -7.0, %s, %s, now() - make_interval(mins => %s))""",
        (label.calculation_id, str(label.calculation_id), conformer, gap, gap - 7.0, computed(gap), age_minutes),
    )
    connection.execute(
        """INSERT INTO candidates (id, campaign_id, conformer_id, relaxed_conformer_id, state, triage_id, label_value)
           VALUES (%s, %s, %s, %s, 'labelled', %s, %s)""",
        (candidate, campaign_id, conformer, conformer, label.calculation_id, gap),
    )
    candidates.judge(connection, campaign_id, [candidate])
    return candidate
