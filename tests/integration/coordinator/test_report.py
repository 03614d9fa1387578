"""The report of a campaign that went through the coordinator."""

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from rdkit import Chem

from gapsmith.coordinator.cli import campaign as command
from gapsmith.coordinator.commands.report import hits_table, write_report
from gapsmith.core.campaign import cloned, parse_campaign, read_campaign
from gapsmith.core.errors import Conflict, UnavailableError
from gapsmith.core.messages import CandidatesProposed
from gapsmith.core.settings import settings
from gapsmith.store import campaigns, heartbeats, progress
from gapsmith.store.campaigns import Campaign
from gapsmith.store.results import base_rate, wilson


def finished(world: Any) -> Campaign:
    """A campaign with two hits in six jobs, one certified and one not, and one miss."""
    campaign = world.campaign(budget={"dft_jobs": 6}, retraining={"every_labels": 2})
    made = world.score(campaign, [world.guess(4.0) for _ in range(8)])
    world.tell(CandidatesProposed(campaign_id=campaign.id, candidate_ids=(), sampled=10, refused={"valence": 3}))
    world.rows(
        """INSERT INTO candidates (id, campaign_id, molecule_id, conformer_id, state, reason)
           SELECT gen_random_uuid(), campaign_id, molecule_id, conformer_id, 'rejected', 'duplicate'
           FROM candidates WHERE id = %s RETURNING id""",
        made[0],
    )
    world.news()
    outcomes = iter([4.02, 4.09, 4.01, 5.0, None, 4.6])
    certificates = iter([4.05, 4.2, None])
    while (calculation := world.begin()) is not None:
        (row,) = world.rows("SELECT level FROM calculations WHERE id = %s", calculation)
        gap = next(outcomes if row["level"] == "triage" else certificates)
        world.finish(calculation, gap, None if gap else "it fell apart")
    looked: Campaign = world.look(campaign)
    return looked


def test_all_files_are_written_and_agree(world: Any, tmp_path: Path) -> None:
    campaign = finished(world)
    files = write_report(world.database, campaign, tmp_path / "results" / "test")
    text = files.report.read_text()
    assert "the budget of 6 DFT jobs is spent" in text
    assert "Hits: 2 (1 certified, 1 missed) in 6 DFT jobs, failures included: 33% (95 % interval 10% to 70%)" in text
    assert "10 molecules drawn, 4 refused (valence 3, duplicate 1)" in text
    assert "chemistry: it fell apart: 1" in text
    assert "180 CPU-seconds in 9 calculations" in text
    assert files.picture.read_bytes().startswith(b"\x89PNG")
    with files.csv.open() as stream:
        hits = list(csv.DictReader(stream))
    assert sorted((float(hit["gap_ev"]), hit["gap_level"]) for hit in hits) == [(4.01, "triage"), (4.05, "certificate")]
    molecules = list(Chem.SDMolSupplier(str(files.sdf), sanitize=False))
    assert [mol.GetProp("inchikey") for mol in molecules] == [hit["inchikey"] for hit in hits]
    with files.candidates.open() as stream:
        assert len(list(csv.DictReader(stream))) == 8
    write_report(world.database, campaign, tmp_path / "results" / "test")  # once more over the old files


def test_the_table_says_which_gap_is_which(world: Any) -> None:
    rows = hits_table(world.database, finished(world))
    assert [(row["label_ev"], row["certified_ev"], row["outcome"]) for row in rows] == [
        (4.02, 4.05, "hit by certificate"),
        (4.01, None, "hit by label"),
    ]
    assert rows[0]["predicted_ev"] == "4.00 ± 0.20"


def test_a_campaign_without_results_has_a_report_too(world: Any, tmp_path: Path) -> None:
    campaign = world.campaign()
    files = write_report(world.database, campaign, tmp_path)
    assert "No DFT job has ended." in files.report.read_text()
    assert hits_table(world.database, campaign) == []
    assert files.sdf.read_text() == ""


def test_a_folder_that_cannot_be_written_is_named(world: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="file/results"):
        write_report(world.database, world.campaign(), tmp_path / "file" / "results")


def test_the_base_rate_is_that_of_qm9() -> None:
    everything = parse_campaign({"name": "a", "target": {"value": 4.0}, "constraints": {"heavy_atoms": [1, 9]}})
    assert base_rate(everything) == pytest.approx(598 / 130_831, rel=1e-3)
    hydrocarbons = {"elements": ["C"], "heavy_atoms": [1, 1]}  # methane, 13.7 eV
    for value, rate in ((4.0, 0.0), (13.7, 1.0)):
        config = parse_campaign(
            {"name": "a", "target": {"value": value, "tolerance": 0.5}, "constraints": hydrocarbons}
        )
        assert base_rate(config) == rate


def test_wilson_interval_of_known_rates() -> None:
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)


def test_the_list_counts_as_the_database_does_and_says_when_nothing_works_on_a_campaign(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = finished(world)
    open_one = world.campaign(name="open")
    monkeypatch.setenv("GAPSMITH_POSTGRES_URL", world.database.url)
    settings.cache_clear()

    def listed() -> dict[str, dict[str, str]]:
        answer = CliRunner().invoke(command, ["list"], catch_exceptions=False)
        rows = csv.DictReader(answer.stdout.splitlines(), delimiter="\t")
        return {row["name"]: row for row in rows}

    try:
        rows = listed()
        assert rows[open_one.name]["state"] == "running, but nothing works on it"
        counted = world.rows(
            "SELECT state, count(*)::int AS n FROM candidates WHERE campaign_id = %s GROUP BY 1", done.id
        )
        with world.database.transaction() as connection:
            now = progress.counts(connection, done.id)
            heartbeats.beat(connection, "coordinator", "steers")
        assert now.by_state == {row["state"]: row["n"] for row in counted}
        assert rows[done.name]["candidates"] == str(sum(now.by_state.values()))
        assert listed()[open_one.name]["state"] == "running"
    finally:
        settings.cache_clear()


def test_a_campaign_is_exported_and_cloned(world: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one = world.campaign(name="first")
    monkeypatch.setenv("GAPSMITH_POSTGRES_URL", world.database.url)
    settings.cache_clear()
    file = tmp_path / "first.yaml"

    def said(*words: str) -> str:
        return CliRunner().invoke(command, list(words), catch_exceptions=False).output

    try:
        assert str(file) in said("export", "first", "-o", str(file))
        assert read_campaign(file) == one.config
        assert parse_campaign(yaml.safe_load(said("export", "first"))) == one.config
        assert "seed 5" in said("clone", "first", "second", "--seed", "5")
        with pytest.raises(Conflict, match="second"):
            said("clone", "first", "second")
        with pytest.raises(UnavailableError, match="cannot be written"):
            said("export", "first", "-o", str(tmp_path / "nowhere" / "first.yaml"))
        with world.database.transaction() as connection:
            second = campaigns.named(connection, "second")
        assert second.config == cloned(one.config, "second", 5)
    finally:
        settings.cache_clear()
