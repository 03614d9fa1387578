"""Deletion of campaigns: what belongs to one alone goes, what others use stays."""

from typing import Any

import pytest

from gapsmith.core.errors import Conflict
from gapsmith.core.lifecycle import CampaignState
from gapsmith.core.reasons import STOPPED_BY_USER
from gapsmith.store import campaigns, deleting

TABLES = ("candidates", "predictions", "calculations", "conformers", "campaigns")


def counts(world: Any) -> dict[str, int]:
    return {table: len(world.rows(f"SELECT 1 FROM {table}")) for table in TABLES}


def end(world: Any, campaign: Any) -> None:
    with world.database.transaction() as connection:
        campaigns.set_state(connection, campaign.id, CampaignState.STOPPED, source="cli", reason=STOPPED_BY_USER)
    world.news()


def test_a_campaign_goes_with_its_own_and_what_others_have_stays(world: Any) -> None:
    options = {"dft": {"certify": False}, "retraining": {"enabled": False}}
    shared = [world.guess(4.0, length_angstrom=100.0), *world.guesses(*[9.0] * 7)]
    first = world.campaign("first", budget={"dft_jobs": 3}, **options)
    world.score(first, shared)
    world.news()
    for _ in range(3):
        world.compute(4.05)
    alone = counts(world)
    assert alone["calculations"] >= 3
    second = world.campaign("second", budget={"dft_jobs": 1}, **options)
    kept = world.score(second, [world.guess(4.0, length_angstrom=100.0)])
    world.news()
    after_second = counts(world)
    theirs = {row["triage_id"] for row in world.rows("SELECT triage_id FROM candidates WHERE triage_id IS NOT NULL")}
    of_second = world.state(kept[0])["triage_id"]
    end(world, second)
    with world.database.tried() as connection:
        tried = deleting.campaign(connection, first.id)
    assert counts(world) == after_second
    with world.database.transaction() as connection:
        found = deleting.campaign(connection, first.id)
    assert found == tried
    left = counts(world)
    assert left["campaigns"] == 1
    assert left["candidates"] == after_second["candidates"] - found.candidates == 1
    assert left["calculations"] == after_second["calculations"] - found.jobs
    assert left["conformers"] == after_second["conformers"] - found.geometries
    assert found.shared == (1 if of_second is not None else 0)
    assert found.jobs == len(theirs) - found.shared
    assert not world.rows(
        """SELECT 1 FROM conformers f WHERE NOT EXISTS (SELECT 1 FROM candidates c WHERE f.id IN (
               c.conformer_id, c.relaxed_conformer_id, c.certified_conformer_id)) AND NOT EXISTS (
               SELECT 1 FROM calculations k WHERE f.id IN (k.conformer_id, k.result_conformer_id))"""
    )


def test_a_campaign_that_goes_on_is_not_deleted(world: Any) -> None:
    campaign = world.campaign("first")
    world.score(campaign, world.guesses(4.0, 5.0))
    world.news()
    before = counts(world)
    with world.database.transaction() as connection, pytest.raises(Conflict, match="first end it"):
        deleting.campaign(connection, campaign.id)
    assert counts(world) == before
