"""Targets of several windows, what ranks their hits, and what another target means for a campaign that runs."""

from typing import Any

import pytest

from gapsmith.cli.main import cli
from gapsmith.coordinator import pool
from gapsmith.coordinator.commands.report import lines, write_report
from gapsmith.core.errors import Conflict, InputError
from gapsmith.core.lifecycle import CampaignState
from gapsmith.core.messages import CampaignChanged, GenerateRequested
from gapsmith.core.reasons import STOPPED_BY_USER
from gapsmith.core.settings import settings
from gapsmith.store import campaigns, progress, tasks
from gapsmith.store.results import collect

BOTH = [{"property": "gap", "value": 4.0, "tolerance": 0.2}, {"property": "homo", "below": -6.0}]


def test_another_target_drops_what_waits_and_counts_what_is_known(world: Any) -> None:
    campaign = world.campaign(budget={"dft_jobs": 8})
    near, far = (world.score(campaign, world.guesses(*[mean] * 5)) for mean in (4.0, 6.0))
    world.news()
    world.compute(6.02)  # outside now, and inside later
    running = world.begin()
    world.compute(4.0)  # a hit, whose certificate waits
    with world.database.transaction() as connection:
        for request in world.rows("SELECT id FROM requests WHERE service = 'generator'"):
            tasks.add(
                connection, request["id"], service="generator", kind="generate", payload={}, campaign_id=campaign.id
            )
    open_before = world.rows("SELECT 1 FROM tasks WHERE state = 'pending'")
    changed = world.retarget(campaign, {"value": 6.0})
    assert str(changed.config.target) == "gap 6 ± 0.1 eV"
    (earlier,) = changed.earlier_targets
    assert (earlier.target, earlier.labels) == ("gap 4 ± 0.1 eV", 2)
    assert world.events(CampaignChanged)[-1]["target"] == "gap 6 ± 0.1 eV"
    by_outcome = world.rows("SELECT outcome, label_value FROM candidates WHERE state = 'labelled' ORDER BY label_value")
    assert [(row["outcome"], row["label_value"]) for row in by_outcome] == [(None, 4.0), ("hit_by_label", 6.02)]
    selected = {row["id"] for row in world.rows("SELECT id FROM candidates WHERE state = 'selected'")}
    begun = {row["id"] for row in world.rows("SELECT id FROM candidates WHERE triage_id = %s", running)}
    assert selected - begun <= set(far)
    assert not selected & set(near) - begun  # what nobody had begun was taken back
    assert open_before
    assert not world.rows("SELECT 1 FROM tasks WHERE state = 'pending' AND service = 'generator'")
    assert world.events(GenerateRequested)[-1]["target"] == {"gap_ev": 6.0}
    (certified,) = world.rows("SELECT id FROM candidates WHERE certificate_id IS NOT NULL AND outcome IS NOT NULL")
    assert world.state(certified["id"])["label_value"] == 6.02
    assert not world.rows("SELECT 1 FROM candidates WHERE label_value = 4.0 AND certificate_id IS NOT NULL")


def test_the_same_target_changes_nothing(world: Any) -> None:
    campaign = world.campaign()
    world.score(campaign, world.guesses(*[4.0] * 8))
    world.news()
    before = world.rows("SELECT id FROM candidates WHERE state = 'selected' ORDER BY id")
    assert world.retarget(campaign, [{"value": 4.0}]).earlier_targets == []
    assert world.rows("SELECT id FROM candidates WHERE state = 'selected' ORDER BY id") == before


def test_what_no_level_computes_cannot_become_the_target(world: Any) -> None:
    campaign = world.campaign()
    with pytest.raises(InputError, match=r"target\.1\.property: .*'s1'"):
        world.retarget(campaign, [{"value": 4.0}, {"property": "s1", "above": 3}])
    assert str(world.look(campaign).config.target) == "gap 4 ± 0.1 eV"
    with world.database.transaction() as connection:
        campaigns.set_state(connection, campaign.id, CampaignState.STOPPED, source="cli", reason=STOPPED_BY_USER)
    with pytest.raises(Conflict, match="its target cannot change any more"):
        world.retarget(campaign, {"value": 5.0})


def test_all_windows_decide_what_is_chosen_and_what_is_a_hit(world: Any) -> None:
    campaign = world.retarget(world.campaign(dft={"certify": False}), BOTH)
    guess = world.guess
    made = world.score(
        campaign,
        [guess(4.0, homo_ev=-5.0), guess(4.0, homo_ev=-6.5), guess(5.0, homo_ev=-6.5), *[guess(9.0, homo_ev=-2.0)] * 5],
    )
    world.score(campaign, [guess(4.0)])  # a model without a head for the HOMO
    with world.database.transaction() as connection:
        assert pool.load(connection, campaign).ids[0] == made[1]
    world.news()
    for gap, homo in ((4.0, -6.4), (4.1, -5.9), (4.3, -7.0)):
        world.compute(gap, homo=homo)
    with world.database.transaction() as connection:
        now = progress.progress(connection, campaign.id)
    assert (now.labels, now.hits) == (3, 1)
    assert now.best is not None
    assert now.best.shown == "gap 4.00 eV, HOMO -6.40 eV"


def test_errors_that_go_together_change_what_is_chosen(world: Any) -> None:
    campaign = world.retarget(world.campaign(), [{"below": 4.0}, {"property": "homo", "below": -6.0}])
    guess = world.guess
    made = world.score(campaign, [guess(4.2, homo_ev=-5.8, correlation=by) for by in (-0.9, 0.9, 0.0)])
    with world.database.transaction() as connection:
        found = pool.load(connection, campaign)
    assert found.ids == [made[1], made[2], made[0]]
    assert found.score[0] > 2 * found.score[1]  # both at a time, or neither


def test_objectives_rank_the_hits_and_choose_what_may_be_better(world: Any, tmp_path: Any) -> None:
    wanted = [*BOTH, {"property": "dipole", "minimise": True}, {"property": "gap", "maximise": True}]
    campaign = world.retarget(world.campaign(dft={"certify": False}), wanted)
    guess = world.guess
    made = world.score(campaign, [guess(4.0, homo_ev=-7.0, dipole_debye=dipole) for dipole in (5.0, 1.0, 3.0)])
    with world.database.transaction() as connection:
        assert pool.load(connection, campaign).ids == [made[1], made[2], made[0]]
    world.score(campaign, [guess(9.0, homo_ev=-2.0, dipole_debye=9.0)] * 5)
    world.news()
    for gap, dipole in ((3.9, 1.0), (4.1, 2.0), (3.85, 3.0)):
        world.compute(gap, homo=-7.0, dipole=dipole)
    with world.database.transaction() as connection:
        best = progress.progress(connection, campaign.id).best
    assert best is not None
    assert best.shown == "gap 3.90 eV, HOMO -7.00 eV, dipole 1.00 debye"
    text = "\n".join(lines(collect(world.database, campaign)))
    front = text.partition("Pareto front of")[2].partition("Hits:")[0]
    assert "minimise dipole and maximise gap" in front
    assert [line.split(" | ")[1] for line in front.splitlines() if line.startswith("| C")] == ["3.900", "4.100"]
    assert "Until " in text
    assert "the target was: gap 4 ± 0.1 eV." in text
    write_report(world.database, campaign, tmp_path)
    assert (tmp_path / "report.png").stat().st_size > 0


def test_the_command_line_gives_a_campaign_another_target(
    world: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = world.campaign()
    monkeypatch.setenv("GAPSMITH_POSTGRES_URL", world.database.url)
    settings.cache_clear()
    try:
        cli.main(["campaign", "target", "test", "gap 6 +- 0.2 eV", "homo below -5"], standalone_mode=False)
        assert "campaign test wants gap 6 ± 0.2 eV, HOMO below -5 eV: 0 known labels count" in capsys.readouterr().out
        assert [one.property for one in world.look(campaign).config.target.root] == ["gap", "homo"]
        with pytest.raises(InputError, match="'about 6 eV' does not say what is wanted; write for example"):
            cli.main(["campaign", "target", "test", "about 6 eV"], standalone_mode=False)
    finally:
        settings.cache_clear()
