"""What a campaign file means beside the campaigns that there are."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from gapsmith.coordinator.commands.begin import Meaning, meaning, spent
from gapsmith.core.campaign import CampaignConfig, parse_campaign
from gapsmith.core.lifecycle import CampaignState
from gapsmith.store.campaigns import Campaign

FINISHED, STOPPED, RUNNING = CampaignState.FINISHED, CampaignState.STOPPED, CampaignState.RUNNING


def config(name: str = "find", **sections: Any) -> CampaignConfig:
    return parse_campaign({"name": name, "target": {"value": 4.0}, **sections})


def stored(config: CampaignConfig, state: CampaignState = FINISHED) -> Campaign:
    return Campaign(uuid4(), config.name, config, state, None, 0.0, datetime.now(UTC), None, {})


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


class Now:
    """Where a campaign stands."""

    certifies, certified_hits, hits, dft_done, elapsed_s = True, 2, 3, 16, 600.0


@pytest.mark.parametrize(
    ("budget", "key"),
    [
        ({"dft_jobs": 16}, "dft_jobs"),
        ({"dft_jobs": 40, "wall_time": "10m"}, "wall_time"),
        ({"dft_jobs": 40, "wanted_hits": 2}, "wanted_hits"),
        ({"dft_jobs": 17, "wall_time": "601s", "wanted_hits": 3}, None),
    ],
)
def test_a_budget_that_is_used_up_is_named(budget: dict[str, Any], key: str | None) -> None:
    reason = spent(Now(), config(budget=budget).budget)  # type: ignore[arg-type]
    assert (reason is None) if key is None else (reason is not None and key in reason and "raise it" in reason)
