"""A package that adds a property by an entry point alone: it can be filtered everywhere, and be wanted."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import property_plugin
import pytest
from many_candidates import fill
from property_plugin import HIGH, LOW

from gapsmith.store.database import Database

SUPPORT = Path(property_plugin.__file__).parent
pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def answers(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process with the package answers about candidates that were stored without it."""
    fill(module_database, most=80)
    folder = property_plugin.install(tmp_path_factory.mktemp("plugin") / "site")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), str(SUPPORT)]),
        "GAPSMITH_POSTGRES_URL": module_database.url,
    }
    done = subprocess.run(
        [sys.executable, property_plugin.__file__, module_database.url, str(folder)],
        env=environment, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_the_command_line_filters_and_sorts_by_it(answers: dict[str, Any]) -> None:
    rows = answers["command_line"]
    values = [float(row["ionization_ev"]) for row in rows]
    assert len(values) > 5
    assert values == sorted(values)
    assert LOW <= values[0] <= values[-1] <= HIGH
    assert values == [-float(row["homo_ev"]) for row in rows]
    assert all(float(row["predicted_ionization_ev"]) == -float(row["predicted_homo_ev"]) for row in rows)


def test_the_interface_and_its_client_give_the_same_rows(answers: dict[str, Any]) -> None:
    asked, found = answers["command_line"], answers["interface"]
    assert found["api"] == found["client"]
    assert sorted(found["api"]) == sorted(row["candidate_id"] for row in asked)
    assert "Ionization energy" in found["properties"]


def test_the_page_shows_and_filters_it(answers: dict[str, Any]) -> None:
    text = answers["page"]
    assert re.search(rf'name="ionization_ev_min"[^>]*aria-label="DFT ionization energy from, eV" value="{LOW}"', text)
    assert "DFT ionization energy, eV" in text
    assert text.count("data-candidate ") == min(len(answers["command_line"]), 50)


def test_a_campaign_can_want_it(answers: dict[str, Any]) -> None:
    found = answers["campaign"]
    assert found["target"] == "ionization energy 7 ± 0.5 eV"
    assert found["chosen"] == [1, 2, 0]  # predicted 7.1, 6.7 and 9.0 eV
    assert found["hits"] == [1, 2]
    assert found["values"] == pytest.approx([6.8, 7.2, 9.0])
