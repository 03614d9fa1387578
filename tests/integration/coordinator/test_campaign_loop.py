"""A campaign through the real handlers on a real Postgres, from its first request to its end."""

import itertools
from typing import Any
from uuid import uuid4

from gapsmith.coordinator import snapshot
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
from gapsmith.core.reasons import ReasonCode
from gapsmith.store import inbox, outbox, tasks
from gapsmith.store.progress import progress


def test_a_whole_campaign(world: Any) -> None:
    """Molecules are asked for, the best are computed, hits are certified, the surrogate learns, the budget ends it."""
    campaign = world.campaign()
    world.news()
    assert world.events(GenerateRequested)
    assert world.open_triage() == 0
    means = itertools.cycle([4.0, 4.1, 4.6, 5.5, 6.8])
    while world.open_triage() == 0:
        assert world.answer(campaign, lambda: world.guesses(*(next(means) for _ in range(5)))) > 0
        world.news()
    assert world.open_triage() == world.ahead
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
        assert world.open_triage() == world.ahead
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
    assert (seen.best.value, seen.best.level) == (4.05, "certificate")
    assert seen.sampled == 10 * len(world.rows("SELECT 1 FROM tasks WHERE service = 'generator'"))
    failed = world.rows("SELECT reason FROM candidates WHERE state = 'failed'")
    assert failed == [{"reason": "chemistry: SCF does not converge"}]
    assert len(world.events(CalculationRequested)) == 6 + 2  # and nothing twice


def test_every_step_survives_a_restart(world: Any) -> None:
    campaign = world.campaign(retraining={"enabled": False}, budget={"dft_jobs": 5})
    world.restart()
    world.news()
    world.score(campaign, world.guesses(*[4.0] * 8))
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
    world.score(campaign, world.guesses(*[5.0] * 60))
    world.news()
    calculation = world.begin()
    before = len(world.events(CalculationRequested))
    world.finish(calculation, 5.0)
    assert len(world.events(CalculationRequested)) == before + 1


def test_events_that_come_twice_or_too_late_change_nothing(world: Any) -> None:
    campaign = world.campaign()
    made = world.score(campaign, world.guesses(*[4.0] * 8))
    world.news()
    calculation = world.compute(4.01)

    def everything() -> list[Any]:
        found: list[Any] = world.rows(
            "SELECT id, state, triage_id, certificate_id, label_value FROM candidates ORDER BY id"
        ) + world.rows("SELECT id, state FROM calculations ORDER BY id")
        return found

    before = everything()
    for event in (
        CalculationFinished(calculation_id=calculation, state="done"),
        CalculationFinished(calculation_id=calculation, state="cancelled"),
        CalculationFinished(calculation_id=uuid4(), state="done"),
        CandidatesScored(campaign_id=campaign.id, candidate_ids=tuple(made), model_id=world.model_ids[0]),
        TrainingFinished(campaign_id=campaign.id, role="surrogate", model_id=None, promoted=False, verdict="worse"),
    ):
        world.tell(event)
    with world.database.transaction() as connection:  # the broker delivers what was handled before
        old = outbox.unhandled(connection, "nobody", world.inlet.topics, 0.0)
    for one in old:
        world.inlet._deliver(one.envelope)
    world.news()
    assert everything() == before


def test_what_is_on_its_way_is_seen_however_the_surrogate_cuts_its_work(world: Any) -> None:
    campaign = world.campaign()

    def unjudged() -> int:
        with world.database.transaction() as connection:
            return snapshot.take(connection, campaign, workers=world.workers).proposals.unjudged

    made = world.score(campaign, world.guesses(*[4.0] * 3))
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
    made = world.score(campaign, world.guesses(4.0, *[9.0] * 7))
    world.news()
    world.compute(4.02)
    assert world.look(campaign).state is CampaignState.RUNNING  # its certificate is open
    world.compute(None, failure="the relaxation does not converge")
    assert world.state(made[0])["state"] == "labelled"
    assert world.state(made[0])["reason"] == "certificate failed: chemistry: the relaxation does not converge"
    assert world.look(campaign).state is CampaignState.FINISHED


def test_a_certificate_outside_the_window_is_certified_but_no_certified_hit(world: Any) -> None:
    campaign = world.campaign(budget={"dft_jobs": 2, "wanted_hits": 1})
    world.score(campaign, world.guesses(*[4.0] * 8))
    world.news()
    world.compute(4.09)
    world.compute(4.15)
    assert world.look(campaign).state is CampaignState.RUNNING
    world.compute(4.0)
    world.compute(4.0)
    assert world.look(campaign).stop_reason == "1 of 1 wanted certified hits were found"


def test_a_generator_that_finds_nothing_new_ends_the_campaign(world: Any) -> None:
    campaign = world.campaign(dft={"certify": False})
    world.news()
    answered = world.answer(campaign, lambda: world.guesses(4.0))
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
    world.score(campaign, world.guesses(*[4.5] * 8))
    world.news()
    near = world.compute(4.4)
    for _ in range(4):
        world.compute(7.0)
    world.answer(campaign, lambda: world.guesses(*[4.6] * 4))
    world.compute(7.0)
    world.answer(campaign, lambda: world.guesses(*[4.6] * 4))
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
    world.score(campaign, world.guesses(*[4.5] * 40))
    several = [CoordinatorService(world.service.settings, world.database) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda service: service.work(), several))
    assert world.open_triage() == world.ahead
    assert len(world.events(CalculationRequested)) == world.ahead
