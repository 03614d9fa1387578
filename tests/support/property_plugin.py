"""A property that another package adds: Koopmans' ionization energy, by an entry point alone.

``install`` lays the package out; run as a program, this asks everything that lists, filters or wants a
property, in a process that finds the package, and prints what it gets.
"""

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import installed

SOURCE = """
from gapsmith.core.properties import Property


class Ionization(Property):
    name, title, unit, symbol = "ionization", "Ionization energy", "eV", "IE"
    description = "minus the energy of the HOMO (Koopmans)"
    possible, usual = (0.0, 30.0), (3.6, 9.3)
    heads = {"homo": -1.0}

    def computed(self, result):
        homo = result.get("homo_ev")
        return None if homo is None else -homo
"""
LOW, HIGH = 6.0, 8.0  # of what is asked for
TARGET = {"property": "ionization", "value": 7.0, "tolerance": 0.5}


def install(folder: Path) -> Path:
    """Write the package; returns the folder to put on the path."""
    return installed.install(folder, "ionization", SOURCE, "gapsmith.properties", "Ionization")


def main(url: str, home: Path) -> dict[str, Any]:
    """Ask a database that was filled before the package was there."""
    from gapsmith.store.database import Database
    from gapsmith.store.migrate import migrate

    migrate(url)
    with Database(url) as database:
        return {
            "command_line": ask_command_line(),
            "interface": ask_interface(database),
            "page": ask_page(database, home),
            "campaign": run_campaign(database),
        }


def ask_command_line() -> list[dict[str, str]]:
    """Rows of a pipe."""
    from click.testing import CliRunner

    from gapsmith.cli.query import query

    options = ["--ionization", f"{LOW}:{HIGH}", "--sort", "ionization"]
    fields = "candidate_id,ionization_ev,homo_ev,predicted_ionization_ev,predicted_homo_ev"
    answer = CliRunner().invoke(query, [*options, "--fields", fields], catch_exceptions=False)
    return list(csv.DictReader(io.StringIO(answer.stdout), delimiter="\t"))


def ask_interface(database: Any) -> dict[str, Any]:
    """The API, and its client."""
    from api_application import application, client_of
    from api_bridge import Bridge

    from gapsmith.client import Client

    api = client_of(application(database))
    asked = {"ionization_ev_min": LOW, "ionization_ev_max": HIGH, "sort": "-ionization", "limit": 1000}
    with Client("http://127.0.0.1", transport=Bridge(api)) as client:
        rows = list(client.candidates.search(ionization_ev=(LOW, HIGH), sort="-ionization"))
        detail = client.candidates.get(rows[0]["candidate_id"])
    return {
        "api": [row["candidate_id"] for row in api.get("/api/v1/candidates", params=asked).json()["items"]],
        "client": [row["candidate_id"] for row in rows],
        "properties": [one["name"] for one in detail["properties"]],
    }


def ask_page(database: Any, home: Path) -> str:
    """The page of candidates, filtered."""
    from dashboard_site import serving

    from gapsmith.core.settings import Settings

    with serving(database, Settings(home=home, postgres_url=database.url)) as site, site.client() as client:
        return client.get(f"/candidates?ionization_ev_min={LOW}&ionization_ev_max={HIGH}&fields=ionization_ev").text


def run_campaign(database: Any) -> dict[str, Any]:
    """A campaign that wants it: what it would choose, and what it counts as a hit."""
    from many_candidates import METHANE, add_model, molecules
    from values import computed, estimate

    from gapsmith.coordinator import pool
    from gapsmith.core import properties
    from gapsmith.core.campaign import parse_campaign
    from gapsmith.store import campaigns, candidates

    with database.transaction() as connection:
        campaign = campaigns.create(connection, parse_campaign({"name": "ionized", "target": TARGET}), source="test")
        model = add_model(connection, 7, "retired")
        ids: list[UUID] = []
        for one, homo in zip(molecules(), (-9.0, -7.1, -6.7), strict=False):
            new, _ = candidates.propose(connection, campaign.id, METHANE, one, model_id=model, in_qm9=False)
            relaxed = candidates.add_conformer(connection, METHANE, method="gfn2-xtb", molecule_id=None)
            said = properties.predicted({"homo": estimate(homo, 0.2)})
            candidates.score(connection, relaxed, candidates.Prediction(new, said, False), model)
            ids.append(new)
        waiting = pool.load(connection, campaign)
        for new, homo in zip(ids, (-9.0, -7.2, -6.8), strict=True):
            job = uuid4()
            connection.execute(
                """INSERT INTO calculations (id, content_hash, level, conformer_id, state, properties)
                   SELECT %s, %s, 'triage', relaxed_conformer_id, 'done', %s FROM candidates WHERE id = %s""",
                (job, str(job), computed(3.0, homo), new),
            )
            connection.execute("UPDATE candidates SET state = 'selected', triage_id = %s WHERE id = %s", (job, new))
        candidates.settle(connection, campaign.id)
        outcomes = connection.execute(
            "SELECT id, outcome, label_value AS value FROM candidates WHERE campaign_id = %s", (campaign.id,)
        ).fetchall()
    return {
        "target": str(campaign.config.target),
        "chosen": [ids.index(one) for one in waiting.ids],
        "hits": sorted(ids.index(row["id"]) for row in outcomes if row["outcome"] == "hit_by_label"),
        "values": sorted(row["value"] for row in outcomes),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
