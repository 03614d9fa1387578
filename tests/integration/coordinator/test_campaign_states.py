"""What a pause, an end, an extension and a change of the levels' file mean for what is open."""

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from gapsmith.coordinator.commands import begin
from gapsmith.coordinator.service import MOST_TICK_S
from gapsmith.core.campaign import parse_campaign
from gapsmith.core.domain import Level
from gapsmith.core.errors import InputError
from gapsmith.core.levels import configured, shipped
from gapsmith.core.lifecycle import CampaignState
from gapsmith.core.messages import (
    CalculationRequested,
    GenerateRequested,
)
from gapsmith.core.reasons import STOPPED_BY_USER, ReasonCode
from gapsmith.core.settings import settings
from gapsmith.store import campaigns, tasks


@pytest.mark.parametrize("state", [CampaignState.STOPPED, CampaignState.FINISHED])
def test_an_end_takes_back_what_is_open(world: Any, state: CampaignState) -> None:
    campaign = world.campaign(budget={"wall_time": "20s"})
    made = world.score(campaign, world.guesses(*[4.0] * 8))
    world.news()
    world.compute(4.0)  # its certificate waits
    world.begin()
    if state is CampaignState.STOPPED:
        with world.database.transaction() as connection:
            campaigns.set_state(connection, campaign.id, state, source="cli", reason=STOPPED_BY_USER)
        world.news()
        reason = "stopped by its user"
    else:
        world.rows("UPDATE campaigns SET elapsed_s = 20 RETURNING id")
        world.tick()
        reason = f"the wall time of {20 / 60:g} min is over"
    assert world.look(campaign).state is state
    states = sorted(world.state(candidate)["state"] for candidate in made)
    assert states == ["labelled"] + ["scored"] * 4 + ["withdrawn"] * 3
    reasons = world.rows("SELECT reason_code, reason FROM candidates WHERE reason IS NOT NULL")
    assert {(row["reason_code"], row["reason"]) for row in reasons} == {
        (ReasonCode.CAMPAIGN_ENDED, reason),
        (ReasonCode.CERTIFICATE_WITHDRAWN, f"certificate withdrawn: {reason}"),
    }
    assert not world.rows("SELECT 1 FROM calculations WHERE state IN ('queued', 'running')")
    world.news()
    world.tick()
    assert not world.rows("SELECT 1 FROM calculations WHERE state IN ('queued', 'running')")


def test_a_pause_lets_what_runs_end_and_begins_nothing(world: Any) -> None:
    campaign = world.campaign()
    world.score(campaign, world.guesses(*[4.0] * 8))
    world.news()
    running = world.begin()
    with world.database.transaction() as connection:
        campaigns.set_state(connection, campaign.id, CampaignState.PAUSED, source="cli")
    world.news()
    before = len(world.events(CalculationRequested)), len(world.events(GenerateRequested))
    world.finish(running, 4.0)
    world.tick()
    assert len(world.rows("SELECT 1 FROM candidates WHERE state = 'labelled'")) == 1
    assert (len(world.events(CalculationRequested)), len(world.events(GenerateRequested))) == before
    with world.database.transaction() as connection:
        campaigns.set_state(connection, campaign.id, CampaignState.RUNNING, source="cli")
    world.news()
    assert world.open_triage() == world.ahead
    assert len(world.rows("SELECT 1 FROM candidates WHERE certificate_id IS NOT NULL")) == 1


def test_pauses_and_outages_do_not_count_as_time(world: Any) -> None:
    campaign = world.campaign()
    world.tick()
    world.rows("UPDATE campaigns SET ticked_at = ticked_at - interval '2 s' RETURNING id")
    world.tick()
    assert 2.0 <= world.look(campaign).elapsed_s <= MOST_TICK_S
    world.rows("UPDATE campaigns SET ticked_at = ticked_at - interval '1 day' RETURNING id")
    world.tick()
    assert world.look(campaign).elapsed_s <= 2 * MOST_TICK_S


def test_an_extended_campaign_goes_on_with_all_that_it_computed(world: Any) -> None:
    campaign = world.campaign(budget={"dft_jobs": 3, "wall_time": "20s"}, dft={"certify": True})
    world.score(campaign, world.guesses(*[4.0] * 8))
    world.news()
    world.compute(4.0)  # its certificate waits
    world.begin()
    world.rows("UPDATE campaigns SET elapsed_s = 20 RETURNING id")
    world.tick()
    assert world.look(campaign).state is CampaignState.FINISHED
    budget = parse_campaign({"name": "x", "target": {"value": 4}, "budget": {"dft_jobs": 5, "wall_time": "1h"}}).budget
    too_little = budget.model_copy(update={"wall_time": timedelta(seconds=20)})
    with pytest.raises(InputError, match="end at once: the wall time"), world.database.transaction() as connection:
        begin.extend(connection, campaign, too_little)
    assert world.look(campaign).state is CampaignState.FINISHED
    with world.database.transaction() as connection:
        begin.extend(connection, campaign, budget)
    world.news()
    now = world.look(campaign)
    assert (now.state, now.stop_reason, now.ended_at, now.config.budget) == (CampaignState.RUNNING, None, None, budget)
    assert world.open_triage() == world.ahead
    assert len(world.rows("SELECT 1 FROM candidates WHERE certificate_id IS NOT NULL AND reason IS NULL")) == 1
    while world.open_triage():
        world.compute(5.0)
    assert len(world.rows("SELECT 1 FROM candidates WHERE state IN ('labelled', 'certified')")) == 5
    assert world.look(campaign).stop_reason == "the budget of 5 DFT jobs is spent"
    with pytest.raises(InputError, match="end at once: the budget of 5"), world.database.transaction() as connection:
        begin.extend(connection, campaign, budget)


def test_a_stopped_campaign_is_not_extended(world: Any) -> None:
    campaign = world.campaign()
    with world.database.transaction() as connection:
        campaigns.set_state(connection, campaign.id, CampaignState.STOPPED, source="cli")
        with pytest.raises(InputError, match="stopped for good"):
            campaigns.extend(connection, campaign.id, campaign.config.budget, source="cli")


def test_a_running_campaign_asks_for_its_own_levels_whatever_the_file_says_now(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = world.campaign()
    path = tmp_path / "levels.yaml"
    path.write_text("levels:\n  triage: {engine: pyscf, method: pbe0, basis: def2-svp}\n")
    monkeypatch.setenv("GAPSMITH_LEVELS", str(path))
    settings.cache_clear()
    configured.cache_clear()
    try:
        world.score(campaign, world.guesses(*[4.0] * 8))
        world.news()
        later = world.campaign("later")
    finally:
        monkeypatch.undo()
        settings.cache_clear()
        configured.cache_clear()
    versions = {row["level_version"] for row in world.rows("SELECT level_version FROM calculations")}
    assert versions == {shipped()["triage"].version}
    assert later.levels[Level.TRIAGE].theory == "PBE0/def2-SVP//GFN2-xTB"


@pytest.mark.parametrize("state", [CampaignState.STOPPED, CampaignState.FINISHED])
def test_what_is_open_of_an_ended_campaign_is_withdrawn(world: Any, state: CampaignState) -> None:
    ending, other = world.campaign("ending"), world.campaign("other")
    ids = {name: uuid4() for name in ("waits", "runs", "other", "late")}

    def add(name: str, campaign: Any) -> None:
        with world.database.transaction() as connection:
            tasks.add(connection, ids[name], service="generator", kind="generate", payload={}, campaign_id=campaign.id)

    def states() -> dict[str, str]:
        found = {row["id"]: row["state"] for row in world.rows("SELECT id, state FROM tasks")}
        return {name: found[task_id] for name, task_id in ids.items() if task_id in found}

    add("runs", ending)
    with world.database.transaction() as connection:
        claimed = tasks.claim(connection, "generator", "it", 60.0)
    assert claimed is not None
    add("waits", ending)
    add("other", other)
    with world.database.transaction() as connection:
        campaigns.set_state(connection, ending.id, state, source="test")
    assert states() == {"runs": "cancelled", "waits": "cancelled", "other": "pending"}
    with world.database.transaction() as connection:
        assert not tasks.renew(connection, claimed.id, "it", 60.0)  # its heartbeat interrupts it ...
        tasks.release(connection, claimed.id, "it")
        assert not tasks.finish(connection, claimed.id, "it")  # ... and nothing of it is written
    add("late", ending)  # a request that was in flight
    assert states()["late"] == "cancelled"
    with world.database.transaction() as connection:
        taken = tasks.claim(connection, "generator", "it", 60.0)
    assert taken is not None
    assert taken.id == ids["other"]
