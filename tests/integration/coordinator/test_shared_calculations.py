"""Calculations that several campaigns, or an earlier and a later one, have in common."""

from typing import Any

from gapsmith.core.lifecycle import CampaignState
from gapsmith.core.reasons import STOPPED_BY_USER
from gapsmith.store import calculations, campaigns
from gapsmith.store.progress import progress


def test_what_was_computed_before_is_used_at_once_and_counts(world: Any) -> None:
    first = world.campaign("first", budget={"dft_jobs": 3}, dft={"certify": False}, retraining={"enabled": False})
    shared = [world.guess(4.0 + 0.01 * index, length_angstrom=100.0 + index) for index in range(8)]
    world.score(first, shared)
    world.news()
    for _ in range(3):
        world.compute(4.05)
    assert world.look(first).state is CampaignState.FINISHED

    second = world.campaign("second", budget={"dft_jobs": 8}, dft={"certify": False}, retraining={"enabled": False})
    world.score(second, shared)
    world.news()
    with world.database.transaction() as connection:
        seen = progress(connection, second.id)
    assert (seen.dft_done, seen.hits, seen.dft_queued) == (3, 3, world.ahead)
    assert len(world.rows("SELECT 1 FROM calculations")) == 3 + world.ahead


def test_campaigns_that_share_a_calculation_both_get_its_result(world: Any) -> None:
    options = {"budget": {"dft_jobs": 1}, "dft": {"certify": False}}
    shared = [world.guess(4.0, length_angstrom=100.0), *world.guesses(*[9.0] * 7)]
    pair = [world.campaign(name, **options) for name in ("first", "second")]
    made = [world.score(campaign, shared)[0] for campaign in pair]
    world.news()
    assert len(world.rows("SELECT 1 FROM calculations")) == 1
    world.compute(4.02)
    assert [world.state(candidate)["label_value"] for candidate in made] == [4.02, 4.02]
    assert all(world.look(campaign).state is CampaignState.FINISHED for campaign in pair)


def test_stopping_one_campaign_leaves_what_another_one_waits_for(world: Any) -> None:
    options = {"budget": {"dft_jobs": 1}, "dft": {"certify": False}}
    shared = [world.guess(4.0, length_angstrom=100.0), *world.guesses(*[9.0] * 7)]
    pair = [world.campaign(name, **options) for name in ("first", "second")]
    made = [world.score(campaign, shared)[0] for campaign in pair]
    world.news()
    with world.database.transaction() as connection:
        campaigns.set_state(connection, pair[0].id, CampaignState.STOPPED, source="cli", reason=STOPPED_BY_USER)
    world.news()
    assert world.state(made[0])["state"] == "withdrawn"
    assert world.state(made[0])["reason"] == "stopped by its user"
    world.compute(4.02)
    assert world.state(made[1])["state"] == "labelled"
    assert world.state(made[0])["state"] == "withdrawn"


def test_what_a_paused_campaign_had_queued_is_computed_for_another_one_that_shares_it(world: Any) -> None:
    options = {"budget": {"dft_jobs": 1}, "dft": {"certify": False}}
    shared = [world.guess(4.0, length_angstrom=100.0), *world.guesses(*[9.0] * 7)]
    first = world.campaign("first", **options)
    world.score(first, shared)
    world.news()
    with world.database.transaction() as connection:
        campaigns.set_state(connection, first.id, CampaignState.PAUSED, source="cli")
        assert calculations.claim(connection, "worker", 60.0) is None
    second = world.campaign("second", **options)
    made = world.score(second, shared)
    world.news()
    with world.database.transaction() as connection:
        claimed = calculations.claim(connection, "worker", 60.0)
    assert claimed is not None
    assert claimed.id == world.state(made[0])["triage_id"]
