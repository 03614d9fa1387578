"""Every event of a running campaign is forgotten, and no number of it changes, wherever it is shown."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from dashboard_site import serving

from gapsmith.bus.relay import prune
from gapsmith.coordinator import snapshot
from gapsmith.coordinator.commands.report import write_report
from gapsmith.core.messages import CandidatesProposed
from gapsmith.core.settings import Settings
from gapsmith.dashboard.pages import campaigns as list_page
from gapsmith.dashboard.pages import loop as loop_page
from gapsmith.store import results
from gapsmith.store.campaigns import Campaign

ADDRESSES = (
    "campaigns",
    "campaigns/test",
    "candidates?campaign=test",
    "candidates?campaign=test&hits=true",
    "jobs",
    "models",
)


def in_the_middle(world: Any) -> Campaign:
    """A campaign with labels, a certificate, failures, refusals, a training and jobs that wait."""
    campaign: Campaign = world.campaign(budget={"dft_jobs": 20}, retraining={"every_labels": 2})
    world.news()
    assert world.answer(campaign, lambda: [world.guess(4.0) for _ in range(6)]) > 0
    world.tell(CandidatesProposed(campaign_id=campaign.id, candidate_ids=(), sampled=30, refused={"valence": 7}))
    world.news()
    for gap in (4.02, 4.3, None, 3.95):
        world.compute(gap, None if gap else "it fell apart")
    campaign = world.look(campaign)
    return campaign


def numbers(world: Any, campaign: Campaign, folder: Path) -> dict[str, Any]:
    """Everything that is said of a campaign."""
    with world.database.transaction() as connection:
        taken = snapshot.take(connection, campaign, workers=2)
    found: dict[str, Any] = {
        "snapshot": replace(taken, since_training_s=0.0),
        "results": results.collect(world.database, campaign),
    }
    files = write_report(world.database, campaign, folder)
    found["report"] = {
        path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".md", ".csv", ".sdf")
    }
    assert files
    site: Any = SimpleNamespace(database=world.database)
    found["page"] = {**loop_page.view(site, campaign.name).make(), "feed": "", "list": list_page.view(site, 0).make()}
    with serving(world.database, Settings()) as dashboard, dashboard.client() as client:
        for address in ADDRESSES:
            text = client.get(f"/api/v1/{address}").text
            found[address] = re.sub(r'"seconds":[\d.]+', "", text)  # that a job has been waiting for
        found["charts"] = client.get(f"/campaigns/{campaign.name}/charts.json").text
    return found


def test_no_number_changes_when_all_events_are_forgotten(world: Any, tmp_path: Path) -> None:
    campaign = in_the_middle(world)
    world.rows("UPDATE outbox SET published_at = now() RETURNING id")
    for name in ("generator", "surrogate", "trainer", "dft_queue"):  # each has handled what was told
        world.rows(
            "INSERT INTO inbox (event_id, consumer) SELECT id, %s FROM outbox ON CONFLICT DO NOTHING RETURNING 1", name
        )
    before = numbers(world, campaign, tmp_path / "before")
    sampled = before["snapshot"].proposals.sampled
    assert sampled >= 40
    assert re.search(rf"\b{sampled}\b", before["page"]["flow"])
    assert before["results"].progress.rejected_by_reason["valence"] == 7
    forgotten = prune(world.database, 0.0)
    assert forgotten > 20
    assert world.rows("SELECT count(*) AS n FROM outbox") == [{"n": 0}]
    assert world.rows("SELECT count(*) AS n FROM inbox") == [{"n": 0}]
    after = numbers(world, campaign, tmp_path / "after")
    assert {name: after[name] for name in before} == before
    world.compute(4.01)  # and it goes on
    assert world.look(campaign).state == "running"
