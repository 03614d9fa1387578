"""A label of a level that searched for conformers: the certificate begins with the lowest one, and it teaches with it."""

from typing import Any

import numpy as np
from psycopg.types.json import Jsonb

from gapsmith.core import columns
from gapsmith.core.domain import Molecule
from gapsmith.store import candidates, labels, query, selection
from gapsmith.store.query_model import CandidateQuery

LOWEST = Molecule(
    np.array([6, 8], dtype=np.uint8),
    np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 7.5]]),
    np.zeros(2, dtype=np.int8),
    np.array([[0, 1, 2]], dtype=np.int16),
)
ENSEMBLE = {"conformers": [{}, {}, {}], "mean": {"gap": 4.25}, "deviation": {"gap": 0.125}}


def test_the_lowest_conformer_counts(world: Any) -> None:
    campaign = world.campaign("first", budget={"dft_jobs": 1}, dft={"certify": False}, retraining={"enabled": False})
    candidate_id, *_ = world.score(campaign, [world.guess(4.0), *world.guesses(*[9.0] * 7)])
    world.news()
    job = world.compute(4.05)
    with world.database.transaction() as connection:
        before = selection.structure(connection, candidate_id)
        lowest = candidates.add_conformer(connection, LOWEST, method="gfn2-xtb", molecule_id=None)
        connection.execute(
            "UPDATE calculations SET result = %s, result_conformer_id = %s WHERE id = %s",
            (Jsonb({"ensemble": ENSEMBLE}), lowest, job),
        )
    assert before.conformer_id != lowest
    with world.database.transaction() as connection:
        assert selection.structure(connection, candidate_id).conformer_id == lowest
        (label,) = labels.collect(connection)
        fields = ("conformers", "mean_gap_ev", "mean_gap_std_ev", "conformer_id")
        asked = CandidateQuery(states=("labelled",), fields=fields)
        (row,) = query.find(lambda: world.database.transaction(), asked)
    assert label.coordinates[1, 2] == 7.5
    assert [row[name] for name in fields] == [3, 4.25, 0.125, lowest]
    assert columns.text(row, columns.BY_NAME["mean_gap_ev"]) == "4.25 ± 0.12"
