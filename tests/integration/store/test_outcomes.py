"""One database, one set of hits, whoever is asked."""

from itertools import product

import pytest
from carbonyls import fill

from gapsmith.core.domain import Window
from gapsmith.core.lifecycle import Outcome
from gapsmith.store import campaigns
from gapsmith.store.database import Database
from gapsmith.store.query import CandidateQuery, find

pytestmark = pytest.mark.service

GAPS_EV = (None, 3.95, 4.0, 4.05, 4.1, 4.15, 4.2, 4.2000000001, 4.3)  # of labels and certificates


def retarget(database: Database, value_ev: float, tolerance_ev: float) -> None:
    """Give the campaign another target."""
    with database.transaction() as connection:
        campaign = campaigns.by_name(connection, "carbonyls")
        assert campaign is not None
        campaigns.retarget(connection, campaign.id, value_ev, tolerance_ev, source="test")


@pytest.mark.parametrize("target", [(4.1, 0.1), (4.05, 0.1), (4.15, 0.05)])
def test_the_view_follows_the_rule(database: Database, target: tuple[float, float]) -> None:
    fill(database)
    retarget(database, *target)
    with database.transaction() as connection:
        for label, certificate in product(GAPS_EV, GAPS_EV):
            row = connection.execute(
                """WITH changed AS (UPDATE candidates SET gap_ev = %s, certified_gap_ev = %s
                                    WHERE state = 'scored' RETURNING id)
                   SELECT id FROM changed""",
                (label, certificate),
            ).fetchone()
            assert row is not None
            found = connection.execute(
                "SELECT outcome, value FROM candidate_outcomes WHERE candidate_id = %s", (row["id"],)
            ).fetchone()
            assert (found and found["outcome"]) == Outcome.of(Window(*target), label, certificate)
            assert (found and found["value"]) == (label if certificate is None else certificate)


@pytest.mark.parametrize(
    ("target", "hits"),
    [
        ((4.0, 0.1), ["CC=O", "CCC=O"]),
        ((4.15, 0.1), ["CC=O"]),  # 4.05 is its lower end
        ((3.92, 0.1), ["CCC=O"]),  # 4.02 is its upper end
        ((4.5, 0.2), []),
        ((3.6, 0.1), ["C=CC=O"]),
    ],
)
def test_a_change_of_target_recounts(database: Database, target: tuple[float, float], hits: list[str]) -> None:
    fill(database)
    retarget(database, *target)
    with database.transaction() as connection:
        assert sorted(row.smiles for row in find(connection, CandidateQuery(hits=True))) == sorted(hits)
