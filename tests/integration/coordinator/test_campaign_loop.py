"""A campaign through the real handlers on a real Postgres, from its first request to its end."""

import itertools
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from gapsmith.coordinator import snapshot
from gapsmith.coordinator.commands import begin
from gapsmith.core.campaign import parse_campaign
from gapsmith.core.domain import Level
from gapsmith.core.errors import InputError
from gapsmith.core.levels import configured, shipped
from gapsmith.core.lifecycle import CampaignState
from gapsmith.core.messages import (
    CalculationFinished,
    CalculationRequested,
    CandidatesProposed,
    CandidatesScored,
    GenerateRequested,
    TrainingFinished,
    TrainingRequested,
)
from gapsmith.core.reasons import STOPPED_BY_USER, ReasonCode
from gapsmith.core.settings import settings
from gapsmith.store import calculations, campaigns, inbox, outbox, tasks
from gapsmith.store.progress import progress

WORKERS = 2
AHEAD = WORKERS + 1  # selections that are open at once


def guesses(world: Any, *means: float) -> list[Any]:
    """Scored molecules with these predicted gaps."""
    return [world.guess(mean) for mean in means]


def open_triage(world: Any) -> int:
    """Selected candidates."""
    return len(world.rows("SELECT 1 FROM candidates WHERE state = 'selected'"))


def test_a_whole_campaign(world: Any) -> None:
    """Molecules are asked for, the best are computed, hits are certified, the surrogate learns, the budget ends it."""
    campaign = world.campaign()
    world.news()
    assert world.events(GenerateRequested)
    assert open_triage(world) == 0
    means = itertools.cycle([4.0, 4.1, 4.6, 5.5, 6.8])
    while open_triage(world) == 0:
        assert world.answer(campaign, lambda: guesses(world, *(next(means) for _ in range(5)))) > 0
        world.news()
    assert open_triage(world) == AHEAD
    best = world.rows(
        """SELECT (p.properties #>> '{gap,mean}')::float8 AS gap_ev
                   FROM candidates c JOIN predictions p ON p.candidate_id = c.id WHERE c.state = 'selected'"""
    )
    assert {row["gap_ev"] for row in best} <= {4.0, 4.1}

    for gap in (4.02, 4.5, 3.95):
        world.compute(gap)
        # a hit's certificate goes first, so the next to be taken may be that
        while world.rows("SELECT 1 FROM calculations WHERE state = 'queued' AND priority > 0"):
            world.compute(4.05)
        assert open_triage(world) == AHEAD
    assert [event["labels"] for event in world.events(TrainingRequested)] == [3]
    world.compute(None, failure="SCF does not converge")
    world.compute(5.0)
    world.compute(4.8)

    ended = world.look(campaign)
    assert ended.state is CampaignState.FINISHED
    assert (ended.stop_code, ended.stop_reason) == ("dft_budget", "the budget of 6 DFT jobs is spent")
    with world.database.transaction() as connection:
        seen = progress(connection, campaign.id)
    assert (seen.dft_done, seen.dft_failed, seen.dft_running, seen.dft_queued) == (6, 1, 0, 0)
    assert (seen.hits, seen.certified_hits, seen.certificates_done, seen.certificates_open) == (2, 2, 2, 0)
    assert seen.best is not None
    assert (seen.best.gap_ev, seen.best.level) == (4.05, "certificate")
    assert seen.sampled == 10 * len(world.rows("SELECT 1 FROM tasks WHERE service = 'generator'"))
    failed = world.rows("SELECT reason FROM candidates WHERE state = 'failed'")
    assert failed == [{"reason": "chemistry: SCF does not converge"}]
    assert len(world.events(CalculationRequested)) == 6 + 2  # and nothing twice


def test_every_step_survives_a_restart(world: Any) -> None:
    campaign = world.campaign(retraining={"enabled": False}, budget={"dft_jobs": 5})
    world.restart()
    world.news()
    world.score(campaign, guesses(world, *[4.0] * 8))
    world.restart()
    world.news()
    for gap in (4.0, 6.0, 6.0, 4.0, 6.0):
        world.restart()
        world.tick()
        calculation = world.begin()
        while world.rows("SELECT 1 FROM calculations WHERE id = %s AND priority > 0", calculation):
            world.finish(calculation, 4.0)
            calculation = world.begin()
        world.restart()
        world.finish(calculation, gap)
    world.restart()
    while (calculation := world.begin()) is not None:
        world.finish(calculation, 4.0)
    assert world.look(campaign).stop_reason == "the budget of 5 DFT jobs is spent"
    assert len(world.events(CalculationRequested)) == 5 + 2
    seeds = [event["seed"] for event in world.events(GenerateRequested)]
    assert len(seeds) == len(set(seeds))


def test_the_next_dispatch_is_in_the_transaction_of_the_result(world: Any) -> None:
    campaign = world.campaign(dft={"certify": False}, budget={"dft_jobs": 50})
    world.score(campaign, guesses(world, *[5.0] * 60))
    world.news()
    calculation = world.begin()
    before = len(world.events(CalculationRequested))
    started = time.perf_counter()
    world.finish(calculation, 5.0)
    took = time.perf_counter() - started
    assert len(world.events(CalculationRequested)) == before + 1
    assert took < 1.0


def test_events_that_come_twice_or_too_late_change_nothing(world: Any) -> None:
    campaign = world.campaign()
    made = world.score(campaign, guesses(world, *[4.0] * 8))
    world.news()
    calculation = world.compute(4.01)

    def everything() -> list[Any]:
        found: list[Any] = world.rows(
            "SELECT id, state, triage_id, certificate_id, label_value FROM candidates ORDER BY id"
        ) + world.rows("SELECT id, state FROM calculations ORDER BY id")
        return found

    before = everything()
    for event in (
        CalculationFinished(calculation_id=calculation, state="done", gap_ev=4.01),
        CalculationFinished(calculation_id=calculation, state="cancelled"),
        CalculationFinished(calculation_id=uuid4(), state="done", gap_ev=4.0),
        CandidatesScored(campaign_id=campaign.id, candidate_ids=tuple(made), model_id=world.model_ids[0]),
        TrainingFinished(campaign_id=campaign.id, role="surrogate", model_id=None, promoted=False, verdict="worse"),
    ):
        world.tell(event)
    with world.database.transaction() as connection:  # the broker delivers what was handled before
        old = outbox.unhandled(connection, "nobody", world.inlet.topics, 0.0)
    for one in old:
        world.inlet._deliver(one.envelope, one.envelope.model_dump_json().encode())
    world.news()
    assert everything() == before


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
    assert (seen.dft_done, seen.hits, seen.dft_queued) == (3, 3, AHEAD)
    assert len(world.rows("SELECT 1 FROM calculations")) == 3 + AHEAD


def test_campaigns_that_share_a_calculation_both_get_its_result(world: Any) -> None:
    options = {"budget": {"dft_jobs": 1}, "dft": {"certify": False}}
    shared = [world.guess(4.0, length_angstrom=100.0), *guesses(world, *[9.0] * 7)]
    pair = [world.campaign(name, **options) for name in ("first", "second")]
    made = [world.score(campaign, shared)[0] for campaign in pair]
    world.news()
    assert len(world.rows("SELECT 1 FROM calculations")) == 1
    world.compute(4.02)
    assert [world.state(candidate)["label_value"] for candidate in made] == [4.02, 4.02]
    assert all(world.look(campaign).state is CampaignState.FINISHED for campaign in pair)


def test_stopping_one_campaign_leaves_what_another_one_waits_for(world: Any) -> None:
    options = {"budget": {"dft_jobs": 1}, "dft": {"certify": False}}
    shared = [world.guess(4.0, length_angstrom=100.0), *guesses(world, *[9.0] * 7)]
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
    shared = [world.guess(4.0, length_angstrom=100.0), *guesses(world, *[9.0] * 7)]
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


def test_what_is_on_its_way_is_seen_however_the_surrogate_cuts_its_work(world: Any) -> None:
    campaign = world.campaign()

    def unjudged() -> int:
        with world.database.transaction() as connection:
            return snapshot.take(connection, campaign, workers=WORKERS).proposals.unjudged

    made = world.score(campaign, guesses(world, *[4.0] * 3))
    with world.database.transaction() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")  # no candidate goes back by itself
        connection.execute("UPDATE candidates SET state = 'proposed'")
    assert unjudged() == 0  # nobody works on them
    event = world.tell(CandidatesProposed(campaign_id=campaign.id, candidate_ids=tuple(made), sampled=10, refused={}))
    assert unjudged() == 3  # the surrogate has not heard of them
    with world.database.transaction() as connection:
        inbox.take(connection, event, "surrogate")
        tasks.add(connection, uuid4(), service="surrogate", kind="score", payload={}, campaign_id=campaign.id)
    assert unjudged() == 3  # it works on some of them
    for state in ("running", "failed"):
        world.rows("UPDATE tasks SET state = %s RETURNING id", state)
    assert unjudged() == 0


def test_a_failed_certificate_leaves_a_labelled_hit_with_the_reason(world: Any) -> None:
    campaign = world.campaign(budget={"dft_jobs": 1})
    made = world.score(campaign, guesses(world, 4.0, *[9.0] * 7))
    world.news()
    world.compute(4.02)
    assert world.look(campaign).state is CampaignState.RUNNING  # its certificate is open
    world.compute(None, failure="the relaxation does not converge")
    assert world.state(made[0])["state"] == "labelled"
    assert world.state(made[0])["reason"] == "certificate failed: chemistry: the relaxation does not converge"
    assert world.look(campaign).state is CampaignState.FINISHED


def test_a_certificate_outside_the_window_is_certified_but_no_certified_hit(world: Any) -> None:
    campaign = world.campaign(budget={"dft_jobs": 2, "wanted_hits": 1})
    world.score(campaign, guesses(world, *[4.0] * 8))
    world.news()
    world.compute(4.09)
    world.compute(4.15)
    assert world.look(campaign).state is CampaignState.RUNNING
    world.compute(4.0)
    world.compute(4.0)
    assert world.look(campaign).stop_reason == "1 of 1 wanted certified hits were found"


@pytest.mark.parametrize("state", [CampaignState.STOPPED, CampaignState.FINISHED])
def test_an_end_takes_back_what_is_open(world: Any, state: CampaignState) -> None:
    campaign = world.campaign(budget={"wall_time": "20s"})
    made = world.score(campaign, guesses(world, *[4.0] * 8))
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
    world.score(campaign, guesses(world, *[4.0] * 8))
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
    assert open_triage(world) == AHEAD
    assert len(world.rows("SELECT 1 FROM candidates WHERE certificate_id IS NOT NULL")) == 1


def test_pauses_and_outages_do_not_count_as_time(world: Any) -> None:
    campaign = world.campaign()
    world.tick()
    world.rows("UPDATE campaigns SET ticked_at = ticked_at - interval '2 s' RETURNING id")
    world.tick()
    assert world.look(campaign).elapsed_s == pytest.approx(2.0, abs=1.0)
    world.rows("UPDATE campaigns SET ticked_at = ticked_at - interval '1 day' RETURNING id")
    world.tick()
    assert world.look(campaign).elapsed_s < 10.0


def test_a_new_model_replaces_queued_selections_that_are_clearly_worse(world: Any) -> None:
    campaign = world.campaign(budget={"dft_jobs": 5})
    made = world.score(campaign, guesses(world, 4.0, 4.01, 4.02, 4.3, 4.35, 7.0, 7.0, 7.0))
    world.news()
    begun = world.begin()
    chosen = [candidate for candidate in made if world.state(candidate)["state"] == "selected"]
    assert chosen == made[:3]
    queued = [
        row["id"]
        for row in world.rows(
            "SELECT c.id FROM candidates c JOIN calculations k ON k.id = c.triage_id WHERE k.state = 'queued'"
        )
    ]
    (running,) = set(chosen) - set(queued)
    means = {running: 9.0, queued[0]: 4.01, queued[1]: 8.0, made[3]: 4.0, made[4]: 6.0}
    withdrawn_calculation = world.state(queued[1])["triage_id"]
    world.rescore(campaign, means)
    world.news()
    assert world.state(running)["state"] == "selected"  # it is being computed
    assert world.state(queued[0])["state"] == "selected"  # still good
    assert world.state(queued[1])["state"] == "scored"
    assert world.state(queued[1])["triage_id"] is None
    assert world.state(made[3])["state"] == "selected"
    assert open_triage(world) == AHEAD
    rows = world.rows("SELECT state FROM calculations WHERE id = %s", withdrawn_calculation)
    assert rows == [{"state": "cancelled"}]

    world.rescore(campaign, {queued[1]: 4.0, made[3]: 8.0})  # and back: a cancelled calculation can be asked for again
    world.news()
    assert world.state(queued[1])["triage_id"] == withdrawn_calculation
    assert world.rows("SELECT state FROM calculations WHERE id = %s", withdrawn_calculation) == [{"state": "queued"}]
    world.finish(begun, 5.0)
    while (calculation := world.begin()) is not None:
        world.finish(calculation, 5.0)
    with world.database.transaction() as connection:
        seen = progress(connection, campaign.id)
    assert seen.dft_done == 5  # what was withdrawn was not charged
    assert seen.model_version == 2
    assert seen.last_verdict == "better by 20 meV"


def test_errors_beyond_their_bars_start_a_training(world: Any) -> None:
    retraining = {"every_labels": 100, "drift": 3.0}
    campaign = world.campaign(budget={"dft_jobs": 20}, retraining=retraining)
    world.score(campaign, [world.guess(4.0 + 0.001 * n, 0.1) for n in range(12)])
    world.news()

    def finish(count: int, error_ev: float) -> int:
        for _ in range(count):
            calculation = world.begin()
            (row,) = world.rows(
                """SELECT (p.properties #>> '{gap,mean}')::float8 AS gap_ev
                   FROM candidates c JOIN predictions p ON p.candidate_id = c.id
                   WHERE c.triage_id = %s""",
                calculation,
            )
            world.finish(calculation, row["gap_ev"] + error_ev)
        world.tick()
        return len(world.rows("SELECT 1 FROM outbox WHERE topic = %s", TrainingRequested.TOPIC))

    assert finish(4, 0.2) == 0  # two standard deviations
    with world.database.transaction() as connection:
        seen = snapshot.take(connection, campaigns.get(connection, campaign.id), workers=WORKERS)
    assert seen.drift == pytest.approx(2.0)
    assert finish(4, -0.5) == 1  # then five: 3.8 over all


@pytest.mark.parametrize("models", [["surrogate"], ["generator"], ["surrogate", "generator"], None])
def test_the_named_models_are_trained_together_and_the_others_are_frozen(world: Any, models: list[str] | None) -> None:
    retraining = {"enabled": False} if models is None else {"models": models}
    campaign = world.campaign(budget={"dft_jobs": 20}, retraining={**retraining, "every_labels": 2})
    world.score(campaign, guesses(world, *[5.0] * 12))
    world.news()
    for _ in range(6):
        world.compute(5.0)
    asked = world.events(TrainingRequested)
    assert [event["role"] for event in asked] == (models or [])  # and not again before all of them have ended
    assert all(event["labels"] == 2 for event in asked)


def test_a_generator_that_finds_nothing_new_ends_the_campaign(world: Any) -> None:
    campaign = world.campaign(dft={"certify": False})
    world.news()
    answered = world.answer(campaign, lambda: guesses(world, 4.0))
    for _ in range(40):
        world.news()
        answered += world.answer(campaign, list)
    while (calculation := world.begin()) is not None:
        world.finish(calculation, 5.0)
    world.news()
    ended = world.look(campaign)
    assert ended.state is CampaignState.FINISHED
    assert ended.stop_code == ReasonCode.NOTHING_MORE_FOUND
    assert answered == len(world.events(GenerateRequested)) < 20


def test_parents_are_the_labelled_ones_nearest_to_the_target(world: Any) -> None:
    campaign = world.campaign(
        exploration={"regrown_share": 1.0}, budget={"dft_jobs": 20}, retraining={"enabled": False}
    )
    world.score(campaign, guesses(world, *[4.5] * 8))
    world.news()
    near = world.compute(4.4)
    for _ in range(4):
        world.compute(7.0)
    world.answer(campaign, lambda: guesses(world, *[4.6] * 4))
    world.compute(7.0)
    world.answer(campaign, lambda: guesses(world, *[4.6] * 4))
    world.news()
    requests = [event for event in world.events(GenerateRequested) if event["parents"]]
    assert requests
    assert all(request["mask_fraction"] == 0.4 for request in requests)
    nearest = world.rows("SELECT id FROM candidates WHERE triage_id = %s", near)[0]["id"]
    assert all(str(nearest) in request["parents"] for request in requests[-2:])
    assert all(len(set(request["parents"])) == len(request["parents"]) <= 8 for request in requests)


def test_two_coordinators_never_dispatch_the_same_place(world: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from gapsmith.coordinator.service import CoordinatorService

    campaign = world.campaign(budget={"dft_jobs": 30}, dft={"certify": False})
    world.score(campaign, guesses(world, *[4.5] * 40))
    several = [CoordinatorService(world.service.settings, world.database) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda service: service.work(), several))
    assert open_triage(world) == AHEAD
    assert len(world.events(CalculationRequested)) == AHEAD


def test_an_extended_campaign_goes_on_with_all_that_it_computed(world: Any) -> None:
    campaign = world.campaign(budget={"dft_jobs": 3, "wall_time": "20s"}, dft={"certify": True})
    world.score(campaign, guesses(world, *[4.0] * 8))
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
    assert open_triage(world) == AHEAD
    assert len(world.rows("SELECT 1 FROM candidates WHERE certificate_id IS NOT NULL AND reason IS NULL")) == 1
    while open_triage(world):
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
        world.score(campaign, guesses(world, *[4.0] * 8))
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
