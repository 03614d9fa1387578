"""A campaign reads predictions as its own labels teach it."""

from typing import Any

import pytest

from gapsmith.coordinator import pool


def test_labels_beside_their_predictions_shift_and_widen_what_is_predicted(world: Any) -> None:
    campaign = world.campaign(budget={"dft_jobs": 8}, retraining={"every_labels": 100})
    world.score(campaign, world.guesses(*[4.0] * 8))
    world.news()
    with world.database.transaction() as connection:
        (before,) = pool.adaptations(connection, campaign.id, ["gap"])
    assert (before.shift, before.factor) == (0.0, 1.0)
    for _ in range(4):
        world.compute(4.9)  # predicted: 4.0 ± 0.2
    with world.database.transaction() as connection:
        (after,) = pool.adaptations(connection, campaign.id, ["gap"])
        other = pool.adaptations(connection, campaign.id, ["homo"])
    assert after.shift == pytest.approx(0.9 * 4 / 9, abs=0.01)
    assert after.factor > 1.2
    assert (other[0].shift, other[0].factor) == (0.0, 1.0)  # nothing is known of it


def test_what_a_model_says_after_the_label_does_not_count(world: Any) -> None:
    campaign = world.campaign(budget={"dft_jobs": 8}, retraining={"every_labels": 100})
    made = world.score(campaign, world.guesses(*[4.0] * 8))
    world.news()
    world.compute(4.9)
    with world.database.transaction() as connection:
        before = pool.adaptations(connection, campaign.id, ["gap"])
    world.rescore(campaign, dict.fromkeys(made, 4.9))
    with world.database.transaction() as connection:
        assert pool.adaptations(connection, campaign.id, ["gap"]) == before
