"""The service on a real database with the shipped weights: scoring, refusing, a new model, a bad one, a lost task."""

from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pytest
from model_cards import as_role, card
from rdkit import Chem
from rdkit.Chem import AllChem

from gapsmith.core.campaign import CampaignConfig, Target
from gapsmith.core.chemistry.conversion import from_rdkit
from gapsmith.core.chemistry.identity import identify
from gapsmith.core.domain import Molecule
from gapsmith.core.messages import CandidatesProposed, CandidatesScored, ModelPromoted
from gapsmith.core.properties import registered
from gapsmith.core.settings import Settings
from gapsmith.store import campaigns, candidates, models
from gapsmith.store.database import Database
from gapsmith.store.tasks import MOST_ATTEMPTS
from gapsmith.surrogate import ROLE, WEIGHTS
from gapsmith.surrogate.predictor import Predictor
from gapsmith.surrogate.service import CHUNK, SurrogateService
from gapsmith.training.checkpoint import save_model
from gapsmith.training.files import sha256

SMILES = ("CCCC=O", "CCCCO", "CC(N)=O", "CCC#N")


def embedded(smiles: str, noise: float = 0.05) -> Molecule:
    """A rough geometry as a generator would give it."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    molecule = from_rdkit(mol)
    shaken = molecule.coordinates + np.random.default_rng(0).normal(0, noise, molecule.coordinates.shape)
    return Molecule(molecule.numbers, shaken, molecule.charges, molecule.bonds)


@pytest.fixture
def service(database: Database, postgres_url: str, tmp_path: Path) -> SurrogateService:
    made = SurrogateService(Settings(home=tmp_path, postgres_url=postgres_url), database)
    made.setup()
    return made


@pytest.fixture
def campaign_id(database: Database) -> UUID:
    with database.transaction() as connection:
        config = CampaignConfig(name="test", target=Target(value=6.0))
        return campaigns.create(connection, config, source="test").id


def propose(database: Database, campaign_id: UUID, molecules: list[tuple[str, Molecule]]) -> tuple[UUID, ...]:
    """Candidates as the generator writes them."""
    ids = []
    with database.transaction() as connection:
        generator = models.ensure_shipped(connection, Path("/nowhere"), card("generator", "0"))
        for smiles, molecule in molecules:
            known = identify(Chem.AddHs(Chem.MolFromSmiles(smiles)))
            ids.append(candidates.propose(connection, campaign_id, molecule, known, model_id=generator, in_qm9=True)[0])
    return tuple(ids)


def ask(service: SurrogateService, campaign_id: UUID, ids: tuple[UUID, ...]) -> None:
    """Deliver the event."""
    event = CandidatesProposed(campaign_id=campaign_id, candidate_ids=ids, sampled=len(ids), refused={})
    with service.database.transaction() as connection:
        service.on_proposed(connection, uuid4(), event)


def rows(database: Database, sql: str) -> list[dict[str, object]]:
    with database.transaction() as connection:
        return connection.execute(sql).fetchall()


def told(database: Database) -> list[CandidatesScored]:
    """What the service emitted."""
    found = rows(database, "SELECT envelope->'data' AS data FROM outbox WHERE type LIKE '%scored%' ORDER BY sequence")
    return [CandidatesScored.model_validate(row["data"]) for row in found]


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
    register(service, weights, sha256(weights), old.id)
    assert service.work()
    first, second = rows(database, "SELECT * FROM predictions ORDER BY created_at")
    assert first["model_id"] == old.id
    assert second["model_id"] == service.model().id != old.id
    before, after = first["properties"], second["properties"]
    assert set(before) == set(after) == set(registered())  # the shipped weights predict all
    for name in before:
        assert after[name]["mean"] == pytest.approx(before[name]["mean"], abs=1e-6)
        assert after[name]["std"] == pytest.approx(0.5 * before[name]["std"], rel=1e-6)
        assert after[name]["low"] < after[name]["mean"] < after[name]["high"]
    assert [(event.rescored, event.candidate_ids) for event in told(database)] == [(False, ids), (True, ids)]


def register(service: SurrogateService, weights: Path, digest: str, parent: UUID) -> None:
    """As the trainer does, and deliver the event."""
    model_id = uuid4()
    with service.database.transaction() as connection:
        models.add(
            connection,
            model_id,
            card(ROLE, digest),
            parent_id=parent,
            path=weights,
            metrics={},
            labels=1,
            campaign_id=None,
        )
        models.promote(connection, model_id, "better", source="trainer")
        service.on_promoted(connection, uuid4(), ModelPromoted(role=ROLE, model_id=model_id))


def test_a_bad_model_stops_nothing(
    service: SurrogateService, database: Database, campaign_id: UUID, tmp_path: Path
) -> None:
    good = service.model()
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no tensors")
    register(service, broken, sha256(broken), good.id)
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
