"""A number always says which level of theory it is of: also where a user's file has redefined a shipped level."""

import csv
import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from carbonyls import MOLECULES, add, fill
from click.testing import CliRunner
from fastapi.testclient import TestClient

from gapsmith.cli.main import cli
from gapsmith.coordinator.commands.report import hits_table, write_report
from gapsmith.core.campaign import parse_campaign
from gapsmith.core.domain import Level
from gapsmith.core.levels import Levels, configured, shipped
from gapsmith.core.lifecycle import CandidateState
from gapsmith.core.settings import Settings, settings
from gapsmith.dashboard.app import create_app
from gapsmith.dashboard.context import Context
from gapsmith.dashboard.settings import DashboardSettings
from gapsmith.store import campaigns, labels
from gapsmith.store.campaigns import Campaign
from gapsmith.store.database import Database
from gapsmith.surrogate.labels import campaign_labels

pytestmark = pytest.mark.service

MINE = "levels:\n  certificate: {extends: triage, method: PBE0, basis: def2-SVP, relaxation: [gfn2-xtb, self]}\n"
TRIAGE, CERTIFICATE = "B3LYP/6-31G(2df,p)//GFN2-xTB [triage ", "PBE0/def2-SVP//PBE0/def2-SVP [certificate "


@pytest.fixture
def level_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file of levels that this process uses."""
    path = tmp_path / "levels.yaml"
    path.write_text(MINE)
    monkeypatch.setenv("GAPSMITH_LEVELS", str(path))
    forget()
    yield path
    forget()


def forget() -> None:
    """A new process reads settings and levels again."""
    settings.cache_clear()
    configured.cache_clear()


@pytest.fixture
def campaign(level_file: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Campaign:
    """A campaign with labels and certificates, begun with that file, which has been taken away since."""
    fill(database)
    monkeypatch.delenv("GAPSMITH_LEVELS")
    monkeypatch.setenv("GAPSMITH_POSTGRES_URL", database.url)
    forget()
    return look(database)


def look(database: Database) -> Campaign:
    with database.transaction() as connection:
        found = campaigns.by_name(connection, "carbonyls")
    assert found is not None
    return found


def ask(*words: str) -> str:
    result = CliRunner().invoke(cli, list(words))
    assert result.exit_code == 0, result.output
    return result.output


def test_a_campaign_keeps_the_levels_that_it_began_with(campaign: Campaign, level_file: Path) -> None:
    mine = Levels.load(level_file)
    assert campaign.levels == {role: mine[role] for role in Level}
    assert campaign.levels[Level.CERTIFICATE].version == mine["certificate"].version != shipped()["certificate"].version
    assert campaign.change == "level"


def test_the_report_names_both_levels_and_blames_the_level(
    campaign: Campaign, database: Database, tmp_path: Path
) -> None:
    text = write_report(database, campaign, tmp_path).report.read_text()
    assert f"gap at triage: {TRIAGE}" in text
    assert f"gap at certificate: {CERTIFICATE}{campaign.levels[Level.CERTIFICATE].version[:8]}]" in text
    assert "different levels" in text
    missed = text.partition("Missed, inside by its label and outside at the other level:")[2]
    assert "| C=CC=O | 3.950 | 3.600 |" in missed
    assert "C=CC=O" not in {row["smiles"] for row in hits_table(database, campaign)}
    assert "DFT geometry" not in text


@pytest.mark.parametrize("ending", ["csv", "json", "parquet", "sdf", "tsv"])
def test_every_export_has_the_level_of_each_gap(campaign: Campaign, ending: str, tmp_path: Path) -> None:
    words = ["query", "--campaign", "carbonyls", "--fields", "smiles,gap_ev,level_of_theory"]
    if ending == "tsv":
        rows = list(csv.DictReader(StringIO(ask(*words)), delimiter="\t"))
    else:
        path = tmp_path / f"out.{ending}"
        ask(*words, "-o", str(path))
        if ending == "sdf":
            text = path.read_text()
            assert text.count(CERTIFICATE) == 2
            assert text.count(TRIAGE) == 1
            return
        if ending == "csv":
            rows = list(csv.DictReader(path.open()))
        else:
            rows = json.loads(path.read_text()) if ending == "json" else pq.read_table(path).to_pylist()
    found = {row["smiles"]: row["level_of_theory"] for row in rows}
    assert found["CC=O"].startswith(TRIAGE)
    assert found["CCC=O"].startswith(CERTIFICATE)
    assert not found["CCO"]


def test_command_line_pages_and_api_show_it(campaign: Campaign, database: Database) -> None:
    assert f"gap at certificate: {CERTIFICATE}" in ask("campaign", "show", "carbonyls")
    app = create_app(Context(database, Settings(), DashboardSettings()))
    with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 50000)) as client:
        detail = client.get("/api/v1/campaigns/carbonyls").json()
        assert detail["levels"]["certificate"]["title"].startswith(CERTIFICATE)
        assert detail["levels"]["certificate"]["version"] == campaign.levels[Level.CERTIFICATE].version
        assert detail["levels"]["certificate"]["definition"]["basis"] == "def2-SVP"
        rows = client.get("/api/v1/candidates", params={"campaign": "carbonyls"}).json()["items"]
        assert {row["level_of_theory"][:10] for row in rows if row["gap_ev"]} == {TRIAGE[:10], CERTIFICATE[:10]}
        (one,) = [row["candidate_id"] for row in rows if row["smiles"] == "CCC=O"]
        for address in ("/campaigns/carbonyls", "/candidates?campaign=carbonyls", f"/candidates/{one}"):
            page = client.get(address).text
            assert CERTIFICATE in page, address
            assert "DFT geometry" not in page, address


def test_labels_of_different_levels_are_not_mixed(
    level_file: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database)  # three labels at the shipped triage
    level_file.write_text("levels:\n  triage: {extends: certificate, method: PBE0, relaxation: [gfn2-xtb]}\n")
    forget()
    monkeypatch.setitem(MOLECULES, "CCCC=O", (CandidateState.LABELLED, 4.2, None, None))
    with database.transaction() as connection:
        other = campaigns.create(connection, parse_campaign({"name": "pbe0", "target": {"value": 4.0}}), source="test")
        add(connection, other.id, "CCCC=O", [])
    first = look(database)
    with database.transaction() as connection:
        found = {one.name: labels.collect(connection, one.id) for one in (first, other)}
        every = labels.collect(connection)
    assert {name: len(some) for name, some in found.items()} == {"carbonyls": 3, "pbe0": 1}
    assert {label.level for label in found["pbe0"]} == {other.levels[Level.TRIAGE].title}
    assert sorted(label.level[:5] for label in every) == ["B3LYP", "B3LYP", "B3LYP", "PBE0/"]
    monkeypatch.setenv("GAPSMITH_POSTGRES_URL", database.url)
    forget()
    assert {title[:5]: len(some) for title, some in campaign_labels().items()} == {"B3LYP": 3, "PBE0/": 1}


def test_with_the_shipped_levels_only_the_geometry_differs(database: Database, tmp_path: Path) -> None:
    fill(database)
    campaign = look(database)
    assert campaign.change == "geometry"
    assert len(campaign.level_lines()) == 2
    assert (
        "Missed, inside by its label and outside at its DFT"
        in write_report(database, campaign, tmp_path).report.read_text()
    )
