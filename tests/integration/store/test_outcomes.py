"""One database, one set of hits, whoever is asked."""

import csv
import re
import time
from collections.abc import Iterator
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
from carbonyls import fill
from dashboard_site import Site, site
from psycopg.types.json import Jsonb

from gapsmith.client import Client
from gapsmith.coordinator import snapshot
from gapsmith.coordinator.commands.display import progress_lines
from gapsmith.coordinator.commands.report import hits_table, write_report
from gapsmith.core.campaign import changed_target
from gapsmith.store import campaigns, candidates, progress
from gapsmith.store.campaigns import Campaign
from gapsmith.store.database import Database, held
from gapsmith.store.query import CandidateQuery, find

__all__ = ["site"]
pytestmark = pytest.mark.service

GAPS_EV = (3.95, 4.0, 4.05, 4.1, 4.15, 4.2, 4.2000000001, 4.3)  # of labels and certificates


def retarget(database: Database, value_ev: float, tolerance_ev: float) -> None:
    """Give the campaign another target."""
    with database.transaction() as connection:
        campaign = campaigns.by_name(connection, "carbonyls")
        assert campaign is not None
        wanted = changed_target(campaign.config, {"value": value_ev, "tolerance": tolerance_ev})
        campaigns.retarget(connection, campaign.id, wanted, source="test")


@pytest.mark.parametrize("target", [(4.1, 0.1), (4.05, 0.1), (4.15, 0.05)])
def test_every_pair_of_values_is_judged_by_the_window(database: Database, target: tuple[float, float]) -> None:
    fill(database)
    retarget(database, *target)
    middle, half = (Decimal(str(number)) for number in target)
    with database.transaction() as connection:
        campaign = campaigns.named(connection, "carbonyls")
        row = connection.execute(
            "SELECT id, triage_id, certificate_id FROM candidates WHERE state = 'certified' ORDER BY id LIMIT 1"
        ).fetchone()
        assert row is not None
        for label, certificate in product(GAPS_EV, GAPS_EV):
            for key, gap in (("triage_id", label), ("certificate_id", certificate)):
                connection.execute(
                    "UPDATE calculations SET properties = %s WHERE id = %s", (Jsonb({"gap": gap}), row[key])
                )
            candidates.judge(connection, campaign.id, [row["id"]])
            found = connection.execute(
                "SELECT outcome, violation <= 0 AS hit, label_value, certified_value FROM candidates WHERE id = %s",
                (row["id"],),
            ).fetchone()
            assert found is not None
            inside = [abs(Decimal(str(gap)) - middle) <= half for gap in (label, certificate)]
            expected = "hit_by_certificate" if inside[1] else "missed" if inside[0] else None
            assert found == {
                "outcome": expected, "hit": inside[1], "label_value": label, "certified_value": certificate
            }  # fmt: skip


class Readers:
    """Everybody who tells of hits, each asked about one database that a dashboard serves."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.database, self.url, self.folder = site.database, site.url, folder
        self.web = httpx.Client(base_url=site.url, timeout=60.0)

    @property
    def campaign(self) -> Campaign:
        """As it is now."""
        with self.database.transaction() as connection:
            found = campaigns.by_name(connection, "carbonyls")
        assert found is not None
        return found

    def page(self) -> str:
        """The campaign's page, once it is not only announced."""
        deadline = time.monotonic() + 200
        while "data-figure" not in (text := self.web.get("/campaigns/carbonyls").text):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        return text

    def lists(self) -> dict[str, list[dict[str, Any]]]:
        """Hits one by one, with their outcomes, from whoever lists them."""
        write_report(self.database, self.campaign, self.folder)
        with self.database.transaction() as connection:
            query = find(held(connection), CandidateQuery(hits=True))
        records = (self.folder / "hits.sdf").read_text().split("$$$$")[:-1]
        with Client(self.url) as client:
            through_client = list(client.candidates.search(state="hit"))
        return {
            "query": query,
            "printed table": hits_table(self.database, self.campaign),
            "report": _markdown((self.folder / "report.md").read_text()),
            "csv": list(csv.DictReader((self.folder / "hits.csv").open())),
            "sdf": [dict(re.findall(r"> +<(\w+)>.*\n(.*)", record)) for record in records],
            "api": self.web.get("/api/v1/candidates", params={"state": "hit"}).json()["items"],
            "client": through_client,
            "charts": [
                {"smiles": one["smiles"], "outcome": None}
                for one in self.web.get("/campaigns/carbonyls/charts.json").json()["parity"]
                if one["hit"]
            ],
            "feed": [
                {"smiles": smiles, "outcome": outcome}
                for smiles, outcome in re.findall(r'data-kind="hit">.*?>(\S+): [\d.]+ eV, (hit by \w+)', self.page())
            ],
            "page": [
                {"smiles": smiles, "outcome": outcome}
                for smiles, outcome in re.findall(
                    r'<code class="smiles">(\S+)</code>.*?data-state="(hit_by_\w+)"',
                    self.web.get("/candidates?state=hit").text,
                    re.DOTALL,
                )
            ],
        }

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """Hits, certified ones, and missed ones, from whoever counts them."""
        campaign = self.campaign
        with self.database.transaction() as connection:
            seen = snapshot.take(connection, campaign, workers=1)
            shown = progress.progress(connection, campaign.id)
        chart = self.web.get("/campaigns/carbonyls/charts.json").json()["hits"]
        page = self.page()
        figures = dict(re.findall(r'data-figure="(\w+)">(\d+)', page))
        stages = dict(re.findall(r'data-stage="(\w+)">(\d+)', page))
        api = self.web.get("/api/v1/campaigns/carbonyls").json()["progress"]
        missed = shown.missed_hits
        report = re.search(r"Hits: (\d+) \((\d+) certified, (\d+) missed\)", (self.folder / "report.md").read_text())
        line = next(line for line in progress_lines(shown) if line.startswith("hits"))
        terminal = re.search(r"(\d+) \((\d+) certified, (\d+) missed\)", line)
        assert report is not None
        assert terminal is not None
        return {
            "snapshot": (seen.hits, seen.certified_hits, missed),
            "progress": (shown.hits, shown.certified_hits, missed),
            "api": (api["hits"], api["certified_hits"], api["missed_hits"]),
            "charts": (chart["found"][-1], chart["certified"][-1], missed),
            "figures": (int(figures["hits"]), int(stages["certified"]), int(figures["missed"])),
            "report": tuple(map(int, report.groups())),
            "terminal": tuple(map(int, terminal.groups())),
        }


def _markdown(report: str) -> list[dict[str, Any]]:
    """Rows of the table of hits in a report."""
    table = report.partition("## Hits")[2].partition("Hits:")[0].partition("Missed,")[0]
    names, _, *rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")] or [[], []]
    return [dict(zip(names, row, strict=True)) for row in rows]


@pytest.fixture
def readers(site: Site, tmp_path: Path) -> Iterator[Readers]:
    """All of them."""
    fill(site.database)
    found = Readers(site, tmp_path / "report")
    with found.web:
        yield found


@pytest.mark.parametrize(
    ("target", "by_label", "by_certificate", "missed"),
    [
        ((4.0, 0.1), {"CC=O"}, {"CCC=O"}, {"C=CC=O"}),
        ((4.15, 0.1), {"CC=O"}, set(), set()),  # 4.05 is its lower end
        ((3.92, 0.1), set(), {"CCC=O"}, {"C=CC=O"}),  # 4.02 is its upper end
        ((4.5, 0.2), set(), set(), {"CCC=O"}),
        ((3.6, 0.1), set(), {"C=CC=O"}, set()),
    ],
)
def test_all_readers_tell_of_one_set(
    readers: Readers, target: tuple[float, float], by_label: set[str], by_certificate: set[str], missed: set[str]
) -> None:
    retarget(readers.database, *target)
    expected = {(smiles, "hit by label") for smiles in by_label} | {
        (smiles, "hit by certificate") for smiles in by_certificate
    }
    for reader, rows in readers.lists().items():
        if reader == "charts":
            assert {row["smiles"] for row in rows} == by_label | by_certificate, reader
        else:
            assert {(row["smiles"], row["outcome"].replace("_", " ")) for row in rows} == expected, reader
    for reader, counts in readers.counts().items():
        assert counts == (len(expected), len(by_certificate), len(missed)), reader


def test_the_badge_of_a_molecule_follows_its_outcome(readers: Readers) -> None:
    with readers.database.transaction() as connection:
        ids = {row["smiles"]: row["candidate_id"] for row in find(held(connection), CandidateQuery())}
    for smiles, outcome in (("CC=O", "hit_by_label"), ("CCC=O", "hit_by_certificate"), ("C=CC=O", "missed")):
        assert f'data-state="{outcome}"' in readers.web.get(f"/candidates/{ids[smiles]}").text
    retarget(readers.database, 4.5, 0.2)
    assert 'data-state="missed"' in readers.web.get(f"/candidates/{ids['CCC=O']}").text
    assert 'data-state="hit' not in readers.web.get(f"/candidates/{ids['CC=O']}").text
