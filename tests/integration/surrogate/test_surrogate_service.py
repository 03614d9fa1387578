"""The service on a real database with the shipped weights: scoring, refusing, a new model, a bad one, a lost task."""

from pathlib import Path
from uuid import UUID, uuid4

import pytest
from model_cards import as_role, card
from scoring import ask, embedded, propose, register, rows, told

from gapsmith.core.campaign import parse_campaign
from gapsmith.core.domain import Molecule
from gapsmith.core.properties import registered
from gapsmith.core.settings import Settings
from gapsmith.store import campaigns
from gapsmith.store.database import Database
from gapsmith.store.tasks import MOST_ATTEMPTS
from gapsmith.surrogate import ROLE, WEIGHTS
from gapsmith.surrogate.predictor import Predictor
from gapsmith.surrogate.service import CHUNK, SurrogateService
from gapsmith.training.checkpoint import save_model
from gapsmith.training.files import sha256

SMILES = ("CCCC=O", "CCCCO", "CC(N)=O", "CCC#N")


@pytest.fixture
def service(database: Database, postgres_url: str, tmp_path: Path) -> SurrogateService:
    made = SurrogateService(Settings(home=tmp_path, postgres_url=postgres_url), database)
    made.setup()
    return made


@pytest.fixture
def campaign_id(database: Database) -> UUID:
    with database.transaction() as connection:
        config = parse_campaign({"name": "test", "target": {"value": 6.0}})
        return campaigns.create(connection, config, source="test").id


def test_candidates_are_relaxed_and_scored(service: SurrogateService, database: Database, campaign_id: UUID) -> None:
    rough = [(smiles, embedded(smiles)) for smiles in SMILES]
    torn = embedded("CCC")
    torn.coordinates[-1] += 4.0
    wrong = embedded("COC")  # a bond that the geometry does not have
    swapped = Molecule(wrong.numbers, wrong.coordinates, wrong.charges, wrong.bonds.copy())
    swapped.bonds[0] = (0, 2, 1)
    ids = propose(database, campaign_id, [*rough, ("CCC", torn), ("COC", swapped)])
    ask(service, campaign_id, ids)
    while service.work():
        pass
    found = {
        row["id"]: row
        for row in rows(
            database,
            """SELECT c.id, c.state, c.reason, f.method, f.energy_hartree, (f.properties ->> 'gap')::float8 AS xtb_gap_ev,
                      (p.properties #>> '{gap,mean}')::float8 AS gap_ev, (p.properties #>> '{gap,std}')::float8 AS gap_std_ev
               FROM candidates c LEFT JOIN conformers f ON f.id = c.relaxed_conformer_id
               LEFT JOIN predictions p ON p.candidate_id = c.id""",
        )
    }
    for candidate_id in ids[:4]:
        row = found[candidate_id]
        assert (row["state"], row["method"]) == ("scored", "gfn2-xtb")
        assert row["energy_hartree"] < -10
        assert 0 < row["gap_std_ev"] < 2
    gaps = {smiles: found[candidate_id]["gap_ev"] for smiles, candidate_id in zip(SMILES, ids, strict=False)}
    assert gaps["CCCC=O"] < gaps["CC(N)=O"] < gaps["CCCCO"]  # QM9 has about 6.5, 7.3 and 9 eV
    assert (found[ids[4]]["state"], found[ids[4]]["reason"]) in {
        ("rejected", "bonds_changed"),
        ("rejected", "relaxation_failed"),
    }
    assert (found[ids[5]]["state"], found[ids[5]]["reason"]) == ("rejected", "bonds_changed")
    assert [set(event.candidate_ids) for event in told(database)] == [set(ids[:4])]


def test_many_candidates_come_in_chunks(service: SurrogateService, database: Database, campaign_id: UUID) -> None:
    ids = tuple(uuid4() for _ in range(CHUNK + 1))  # of another campaign's past: nothing is left to score
    ask(service, campaign_id, ids)
    assert service.work()
    assert service.work()
    assert not service.work()
    assert [event.candidate_ids for event in told(database)] == [(), ()]


def test_a_promoted_model_scores_again_what_waits(
    service: SurrogateService, database: Database, campaign_id: UUID, tmp_path: Path
) -> None:
    ids = propose(database, campaign_id, [("CCO", embedded("CCO"))])
    ask(service, campaign_id, ids)
    assert service.work()
    old = service.model()
    bolder = Predictor.load(WEIGHTS).model
    bolder.sigma_scale.mul_(0.5)
    weights = tmp_path / "next.safetensors"
    save_model(weights, bolder, **as_role(ROLE), config=bolder.config.as_dict(), card={}, half=True)
    register(service, weights, card(ROLE, sha256(weights)), old.id)
    assert service.work()
    first, second = rows(database, "SELECT * FROM predictions ORDER BY created_at")
    assert first["model_id"] == old.id
    assert second["model_id"] == service.model().id != old.id
    before, after = first["properties"], second["properties"]
    excited = {name for name, kind in registered().items() if {"excitations", "triplets"} & set(kind.asks)}
    assert set(before) == set(after) == set(registered()) - excited  # the shipped weights predict all the others
    for name in before:
        assert after[name]["mean"] == pytest.approx(before[name]["mean"], abs=1e-6)
        assert after[name]["std"] == pytest.approx(0.5 * before[name]["std"], rel=1e-6)
        assert after[name]["low"] < after[name]["mean"] < after[name]["high"]
    assert [(event.rescored, event.candidate_ids) for event in told(database)] == [(False, ids), (True, ids)]


def test_a_bad_model_stops_nothing(
    service: SurrogateService, database: Database, campaign_id: UUID, tmp_path: Path
) -> None:
    good = service.model()
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no tensors")
    register(service, broken, card(ROLE, sha256(broken)), good.id)
    assert service.work()
    ids = propose(database, campaign_id, [("C=O", embedded("C=O"))])
    ask(service, campaign_id, ids)
    assert service.work()
    assert not service.work()
    (row,) = rows(database, "SELECT model_id FROM predictions")
    assert row["model_id"] == good.id
    again = SurrogateService(service.settings, database)
    again.setup()  # after a restart it falls back to what was shipped
    assert again.model().id == good.id


def test_what_kills_the_service_again_and_again_is_quarantined(
    service: SurrogateService, database: Database, campaign_id: UUID
) -> None:
    ids = propose(database, campaign_id, [("C=O", embedded("C=O"))])
    ask(service, campaign_id, ids)
    with database.transaction() as connection:  # as if it had died twice
        connection.execute("UPDATE tasks SET attempts = %s", (MOST_ATTEMPTS - 1,))
    assert service.work()
    (row,) = rows(database, "SELECT state, reason FROM candidates")
    assert (row["state"], row["reason"]) == ("rejected", "quarantined")


def test_a_stop_gives_the_task_back(service: SurrogateService, database: Database, campaign_id: UUID) -> None:
    ids = propose(database, campaign_id, [("C=O", embedded("C=O"))])
    ask(service, campaign_id, ids)
    service.stopping.set()
    assert service.work()
    (row,) = rows(database, "SELECT state, attempts FROM tasks")
    assert (row["state"], row["attempts"]) == ("pending", 0)
    service.stopping.clear()
    assert service.work()
    (row,) = rows(database, "SELECT state FROM candidates")
    assert row["state"] == "scored"
