"""What new models change, and which trainings a campaign asks for."""

from typing import Any

import pytest

from gapsmith.coordinator import snapshot
from gapsmith.core.messages import (
    TrainingRequested,
)
from gapsmith.store import campaigns
from gapsmith.store.progress import progress


def test_a_new_model_replaces_queued_selections_that_are_clearly_worse(world: Any) -> None:
    campaign = world.campaign(budget={"dft_jobs": 5})
    made = world.score(campaign, world.guesses(4.0, 4.01, 4.02, 4.3, 4.35, 7.0, 7.0, 7.0))
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
    assert world.open_triage() == world.ahead
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
        seen = snapshot.take(connection, campaigns.get(connection, campaign.id), workers=world.workers)
    assert seen.drift == pytest.approx(2.0)
    assert finish(4, -0.5) == 1  # then five: 3.8 over all


@pytest.mark.parametrize("models", [["surrogate"], ["generator"], ["surrogate", "generator"], None])
def test_the_named_models_are_trained_together_and_the_others_are_frozen(world: Any, models: list[str] | None) -> None:
    retraining = {"enabled": False} if models is None else {"models": models}
    campaign = world.campaign(budget={"dft_jobs": 20}, retraining={**retraining, "every_labels": 2})
    world.score(campaign, world.guesses(*[5.0] * 12))
    world.news()
    for _ in range(6):
        world.compute(5.0)
    asked = world.events(TrainingRequested)
    assert [event["role"] for event in asked] == (models or [])  # and not again before all of them have ended
    assert all(event["labels"] == 2 for event in asked)
