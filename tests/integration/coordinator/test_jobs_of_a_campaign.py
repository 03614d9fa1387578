"""What a user does to a campaign's jobs by hand: nothing is waited for in vain, nothing is asked for again."""

from typing import Any
from uuid import UUID

from gapsmith.core.lifecycle import CampaignState
from gapsmith.store import jobs
from gapsmith.store.jobs import CANCELLED, JobFilter

QUICK = {"dft": {"certify": False}, "retraining": {"enabled": False}}


def change(world: Any, what: str, *ids: UUID) -> int:
    """Retry or cancel."""
    with world.database.transaction() as connection:
        changed = {"cancel": jobs.cancel, "retry": jobs.retry}[what](connection, JobFilter(ids=ids))
    world.news()
    world.tick()
    return len(changed)


def triage(world: Any, candidate: UUID) -> UUID:
    """Its calculation."""
    return UUID(str(world.state(candidate)["triage_id"]))


def begun(world: Any, **sections: Any) -> tuple[Any, list[UUID]]:
    """A campaign that has just selected its first candidates, and these."""
    campaign = world.campaign(**sections)
    made = world.score(campaign, [world.guess(4.0 + 0.01 * index) for index in range(10)])
    world.news()
    return campaign, [one for one in made if world.state(one)["state"] == "selected"]


def compute_all(world: Any, gap_ev: float, *failing: UUID) -> None:
    """Workers compute whatever waits."""
    while (calculation := world.begin()) is not None:
        world.finish(calculation, gap_ev, "no" if calculation in failing else None)


def test_a_cancelled_job_is_given_up_and_another_takes_its_place(world: Any) -> None:
    campaign, chosen = begun(world, budget={"dft_jobs": 4}, **QUICK)
    running = world.begin()
    runs = next(one for one in chosen if triage(world, one) == running)
    waits = next(one for one in chosen if one != runs)
    assert change(world, "cancel", triage(world, waits), triage(world, runs)) == 2
    for one in (waits, runs):
        assert (world.state(one)["state"], world.state(one)["reason"]) == ("withdrawn", CANCELLED)
    assert len(world.rows("SELECT 1 FROM candidates WHERE state = 'selected'")) == len(chosen)
    compute_all(world, 6.0)
    assert world.state(waits)["state"] == "withdrawn"
    assert world.look(campaign).state is CampaignState.FINISHED
    assert len(world.rows("SELECT 1 FROM candidates WHERE state = 'labelled'")) == 4  # the whole budget went to others
    assert world.rows("SELECT count(*) AS n FROM calculations WHERE state = 'cancelled'") == [{"n": 2}]


def test_what_was_cancelled_or_failed_can_be_retried_and_counts(world: Any) -> None:
    _, (cancelled, failed, done) = begun(world, budget={"dft_jobs": 20}, **QUICK)
    jobs_of_them = [triage(world, one) for one in (cancelled, failed, done)]
    change(world, "cancel", jobs_of_them[0])
    compute_all(world, 6.0, jobs_of_them[1])
    assert [world.state(one)["state"] for one in (cancelled, failed, done)] == ["withdrawn", "failed", "labelled"]
    assert change(world, "retry", *jobs_of_them) == 2
    assert [world.state(one)["state"] for one in (cancelled, failed, done)] == ["selected", "selected", "labelled"]
    assert world.state(failed)["reason"] is None
    compute_all(world, 4.03)
    assert [world.state(one)["label_value"] for one in (cancelled, failed, done)] == [4.03, 4.03, 6.0]


def test_a_cancelled_certificate_is_not_asked_for_again_until_it_is_retried(world: Any) -> None:
    _, chosen = begun(world, budget={"dft_jobs": 3}, retraining={"enabled": False})
    label = world.compute(4.02)
    hit = next(one for one in chosen if world.state(one)["triage_id"] == label)
    certificate = world.state(hit)["certificate_id"]
    assert change(world, "cancel", certificate) == 1
    compute_all(world, 6.0)
    for _ in range(3):
        world.tick()
    now = world.state(hit)
    assert (now["state"], now["certificate_id"], now["reason"]) == ("labelled", certificate, f"certificate {CANCELLED}")
    assert world.begin() is None


def test_a_retried_certificate_certifies(world: Any) -> None:
    _, chosen = begun(world, budget={"dft_jobs": 5}, retraining={"enabled": False})
    label = world.compute(4.02)
    hit = next(one for one in chosen if world.state(one)["triage_id"] == label)
    certificate = world.compute(None, "the relaxation does not converge")
    assert certificate == world.state(hit)["certificate_id"]
    assert world.state(hit)["reason"] is not None
    assert change(world, "retry", certificate) == 1
    assert world.compute(4.05) == certificate
    now = world.state(hit)
    assert (now["state"], now["certified_value"], now["reason"]) == ("certified", 4.05, None)


def test_a_retry_after_the_end_leaves_the_campaign_as_it_ended(world: Any) -> None:
    campaign, (only,) = begun(world, budget={"dft_jobs": 1}, **QUICK)
    failed = world.compute(None, "no")
    assert world.look(campaign).state is CampaignState.FINISHED
    assert change(world, "retry", failed) == 1
    assert world.compute(4.0) == failed
    assert world.state(only)["state"] == "failed"
    assert world.rows("SELECT state, campaign_id FROM calculations") == [{"state": "done", "campaign_id": None}]
