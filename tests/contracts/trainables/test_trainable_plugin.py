"""A package that adds an architecture by an entry point alone: it keeps the contract, is trained, and goes live."""

import csv
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import installed
import numpy as np
import pytest
from scoring import ask, embedded, propose, register, rows, told
from tests.contracts.trainables.contract import ETHANOL, METHANE, SurrogateContract

from gapsmith.core.campaign import parse_campaign
from gapsmith.core.errors import InputError
from gapsmith.core.settings import Settings
from gapsmith.data import qm9
from gapsmith.store import campaigns, models
from gapsmith.store.database import Database
from gapsmith.surrogate.service import SurrogateService
from gapsmith.training.card import domain_of, read_card
from gapsmith.training.protocol import loaded

SOURCE = Path(__file__).with_name("tallying.py").read_text()
STEPS = 150


@pytest.fixture(autouse=True, scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package, on the path of this process as long as the tests of this module run."""
    folder = installed.install(
        tmp_path_factory.mktemp("plugin") / "site", "tally", SOURCE, "gapsmith.trainables", "TallyTrainable"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder


@pytest.fixture(scope="module")
def environment(site: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of a command line that finds the package, and no servers."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GAPSMITH_")}
    home = tmp_path_factory.mktemp("home")
    return {**kept, "PYTHONPATH": str(site), "GAPSMITH_HOME": str(home), "OMP_NUM_THREADS": "1"}


def gapsmith(environment: dict[str, str], *arguments: str) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "gapsmith.cli.main", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that ``gapsmith train`` makes of the architecture."""
    folder = tmp_path_factory.mktemp("runs") / "tally"
    gapsmith(
        environment, "train", "tally", "-d", str(folder), "--steps", str(STEPS), "--device", "cpu", "--threads", "1"
    )
    return folder / "surrogate-0.safetensors"


class TestTally(SurrogateContract):
    """The plug-in's."""

    architecture = "tally"
    config: dict[str, Any] = {"elements": ["H", "C", "N", "O", "F"], "hidden": 8}  # noqa: RUF012


def test_the_card_of_a_base_training_says_what_the_model_is_for(trained: Path) -> None:
    card = read_card(trained, role="surrogate")
    assert (card["role"], card["architecture"], card["training"]["steps"]) == ("surrogate", "tally", STEPS)
    domain = domain_of(card, trained)
    assert (domain.elements, domain.heavy_atoms) == (("H", "C", "N", "O", "F"), (1, 9))  # QM9's
    assert {name: known.level for name, known in domain.properties.items()} == {"gap": qm9.LEVEL}
    gaps = qm9.load().properties["gap_ev"]
    assert card["sigma_ev"] < 1.25 * np.abs(gaps - gaps.mean()).mean()  # it learned more than the mean


def test_the_command_line_predicts_with_it(environment: dict[str, str], trained: Path) -> None:
    printed = gapsmith(
        environment, "predict", "CCO", "COC", "C", "--weights", str(trained), "-o", "-", "--threads", "1"
    )
    ethanol, ether, methane = csv.DictReader(io.StringIO(printed))
    assert ethanol["gap_ev"] == ether["gap_ev"]  # the same atoms
    expected = loaded(trained, role="surrogate").predict([ETHANOL, METHANE]).mean_ev
    assert [float(row["gap_ev"]) for row in (ethanol, methane)] == pytest.approx(expected, abs=1e-4)
    assert "homo_ev" not in ethanol


@pytest.fixture
def service(database: Database, postgres_url: str, tmp_path: Path) -> SurrogateService:
    made = SurrogateService(Settings(home=tmp_path, postgres_url=postgres_url), database)
    made.setup()
    return made


def test_the_service_scores_with_it_once_it_is_live(
    service: SurrogateService, database: Database, trained: Path
) -> None:
    shipped = service.model().id
    with database.transaction() as connection:
        campaign = campaigns.create(
            connection, parse_campaign({"name": "test", "target": {"value": 6.0}}), source="test"
        ).id
    isomers = propose(database, campaign, [(smiles, embedded(smiles)) for smiles in ("CCO", "COC")])
    ask(service, campaign, isomers)
    assert service.work()
    live = register(service, trained, read_card(trained, role="surrogate"), shipped)
    (formaldehyde,) = propose(database, campaign, [("C=O", embedded("C=O"))])
    ask(service, campaign, (formaldehyde,))
    while service.work():
        pass
    assert service.model().id == live
    said = {
        (row["candidate_id"], row["model_id"]): row["properties"]
        for row in rows(database, "SELECT candidate_id, model_id, properties FROM predictions")
    }
    assert said.keys() == {(one, model) for one in isomers for model in (shipped, live)} | {(formaldehyde, live)}
    assert all(set(said[one, live]) == {"gap"} for one in (*isomers, formaldehyde))
    ethanol, ether = (said[one, live]["gap"]["mean"] for one in isomers)
    assert ethanol == ether  # the same atoms
    assert said[isomers[0], shipped]["gap"]["mean"] != said[isomers[1], shipped]["gap"]["mean"]
    expected = loaded(trained, role="surrogate").predict([ETHANOL])
    assert ethanol == pytest.approx(float(expected.mean_ev[0]), abs=1e-5)
    assert said[formaldehyde, live]["gap"]["std"] == pytest.approx(float(expected.std_ev[0]))
    assert {(event.model_id, event.rescored, frozenset(event.candidate_ids)) for event in told(database)} == {
        (shipped, False, frozenset(isomers)),
        (live, True, frozenset(isomers)),
        (live, False, frozenset({formaldehyde})),
    }


def test_campaigns_ask_for_what_its_card_says_it_knows(
    service: SurrogateService, database: Database, trained: Path
) -> None:
    dipole = parse_campaign({"name": "polar", "target": {"property": "dipole", "value": 4.0}})
    card = read_card(trained, role="surrogate")
    register(service, trained, card, service.model().id)
    with database.transaction() as connection:
        assert models.live_domains(connection)["surrogate:1"] == domain_of(card, trained)
        with pytest.raises(InputError, match="dipole"):
            campaigns.create(connection, dipole, source="test")
