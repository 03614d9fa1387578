"""What a campaign file means beside the campaigns that there are."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from gapsmith.coordinator.commands.begin import Meaning, meaning
from gapsmith.core.campaign import CampaignConfig, parse_campaign
from gapsmith.core.lifecycle import CampaignState
from gapsmith.store.campaigns import Campaign

FINISHED, STOPPED, RUNNING = CampaignState.FINISHED, CampaignState.STOPPED, CampaignState.RUNNING


def config(name: str = "find", **sections: Any) -> CampaignConfig:
    return parse_campaign({"name": name, "target": {"value": 4.0}, **sections})


def stored(config: CampaignConfig, state: CampaignState = FINISHED) -> Campaign:
    return Campaign(uuid4(), config.name, config, state, None, None, 0.0, datetime.now(UTC), None, {}, ())


def test_a_file_of_a_new_name_begins_a_campaign() -> None:
    assert meaning([stored(config("other"))], config()) == Meaning("find")


def test_the_same_file_is_the_same_campaign() -> None:
    first, second = stored(config()), stored(config("find-2", seed=1))
    assert meaning([first, second], config()) == Meaning("find", first)
    assert meaning([first, second], config(seed=1)) == Meaning("find-2", second)


@pytest.mark.parametrize("state", [FINISHED, RUNNING, CampaignState.PAUSED])
def test_a_changed_budget_alone_goes_on(state: CampaignState) -> None:
    first = stored(config(), state)
    changed = config(budget={"dft_jobs": 40, "wall_time": "2h"})
    found = meaning([first], changed)
    assert found == Meaning("find", first, changed.budget)
    assert "dft_jobs 40 (was 16), wall_time 2h 00m (was 15m 00s)" in found.words()


def test_what_was_stopped_for_good_does_not_go_on() -> None:
    found = meaning([stored(config(), STOPPED)], config(budget={"dft_jobs": 40}))
    assert found == Meaning("find-2", differs_from="find")


def test_any_other_change_is_a_new_campaign() -> None:
    found = meaning([stored(config())], config(seed=7, budget={"dft_jobs": 40}))
    assert found == Meaning("find-2", differs_from="find")
