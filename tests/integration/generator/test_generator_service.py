"""The service on a real database with the shipped weights: new molecules, regrown ones, constraints, a damaged model."""

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from model_cards import card
from values import estimate

from gapsmith.core.campaign import CampaignConfig, Constraints
from gapsmith.core.codec import decode
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import CheckpointError
from gapsmith.core.messages import CandidatesProposed, GenerateRequested
from gapsmith.core.settings import Settings
from gapsmith.core.target import Target
from gapsmith.core.wanted import Wanted
from gapsmith.generator import WEIGHTS
from gapsmith.generator.service import GeneratorService
from gapsmith.store import campaigns, candidates, models, selection
from gapsmith.store.candidates import Prediction
from gapsmith.store.database import Database

COUNT = 12
HEAVY_ATOMS = (4, 7)
CONSTRAINTS = Constraints(elements=("C", "O"), heavy_atoms=HEAVY_ATOMS, sa_score=10)


@pytest.fixture
def service(database: Database, postgres_url: str, tmp_path: Path) -> GeneratorService:
    made = GeneratorService(Settings(home=tmp_path, postgres_url=postgres_url), database)
    made.setup()
    return made


@pytest.fixture
def campaign_id(database: Database) -> UUID:
    with database.transaction() as connection:
        config = CampaignConfig(name="test", target=Target((Wanted(value=6.0),)), constraints=CONSTRAINTS)
        return campaigns.create(connection, config, source="test").id


def ask(service: GeneratorService, campaign_id: UUID, **changes: object) -> CandidatesProposed:
    """Deliver a request, let the service work it off, and return what it told."""
    request = GenerateRequested(
        **{
            "campaign_id": campaign_id,
            "count": COUNT,
            "target": {"gap_ev": 6.0},
            "seed": 2**62 + 5,
            "heavy_atoms": CONSTRAINTS.heavy_atoms,
            "elements": CONSTRAINTS.elements,
            **changes,
        }
    )
    with service.database.transaction() as connection:
        service.on_requested(connection, uuid4(), request)
    assert service.work()
    assert not service.work()
    told = rows(service.database, "SELECT envelope->'data' AS data FROM outbox WHERE type LIKE '%proposed%'")
    return CandidatesProposed.model_validate(told[-1]["data"])


def rows(database: Database, sql: str) -> list[dict[str, Any]]:
    with database.transaction() as connection:
        return connection.execute(sql).fetchall()


def stored(database: Database) -> list[tuple[dict[str, Any], Molecule]]:
    found = rows(
        database,
        """SELECT c.id, c.state, c.reason, c.parent_id, c.mask_fraction, c.model_id, m.heavy_atoms, f.numbers,
                  f.coordinates_angstrom, f.bonds, f.charges
           FROM candidates c JOIN molecules m ON m.id = c.molecule_id JOIN conformers f ON f.id = c.conformer_id
           ORDER BY c.created_at""",
    )
    columns = ("numbers", "coordinates_angstrom", "bonds", "charges")
    return [(row, decode(**{name: row[name] for name in columns})) for row in found]


def test_request_becomes_candidates_within_the_constraints(
    service: GeneratorService, database: Database, campaign_id: UUID
) -> None:
    told = ask(service, campaign_id)
    assert told.sampled == COUNT
    found = stored(database)
    assert len(found) + sum(told.refused.values()) == COUNT
    open_ones = [row["id"] for row, _ in found if row["state"] == "proposed"]
    assert len(open_ones) >= COUNT // 2
    assert set(told.candidate_ids) == set(open_ones)
    for row, molecule in found:
        assert row["model_id"] == service.model()[0]
        assert set(molecule.numbers.tolist()) <= {1, 6, 8}
        assert HEAVY_ATOMS[0] <= row["heavy_atoms"] <= HEAVY_ATOMS[1]
        assert row["parent_id"] is row["mask_fraction"] is None


def test_same_seed_brings_the_same_molecules_which_are_duplicates_then(
    service: GeneratorService, database: Database, campaign_id: UUID
) -> None:
    first = ask(service, campaign_id)
    second = ask(service, campaign_id)
    assert first.candidate_ids
    assert second.candidate_ids == ()
    assert "duplicate" in {row["reason"] for row, _ in stored(database)}


def test_parents_are_regrown_and_remembered(service: GeneratorService, database: Database, campaign_id: UUID) -> None:
    parents = ask(service, campaign_id).candidate_ids[:2]
    before: dict[UUID, Molecule] = {}
    with database.transaction() as connection:
        for parent, molecule, molecule_id in selection.to_score(connection, parents):
            relaxed = candidates.add_conformer(connection, molecule, method="gfn2-xtb", molecule_id=molecule_id)
            prediction = Prediction(parent, {"gap": estimate(6.0, 0.1)}, False)
            candidates.score(connection, relaxed, prediction, service.model()[0])
            before[parent] = molecule
    told = ask(service, campaign_id, parents=parents, mask_fraction=0.3, seed=9)
    grown = [(row, molecule) for row, molecule in stored(database) if row["parent_id"] is not None]
    assert told.sampled == COUNT
    assert {row["parent_id"] for row, _ in grown} == set(parents)
    for row, molecule in grown:
        assert row["mask_fraction"] == pytest.approx(0.3)
        theirs = {tuple(position) for position in before[row["parent_id"]].coordinates}
        kept = sum(tuple(position) in theirs for position in molecule.coordinates)
        assert kept >= 2


def test_damaged_live_model_is_passed_over(service: GeneratorService, database: Database, tmp_path: Path) -> None:
    shipped_id, in_use = service.model()
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(WEIGHTS.read_bytes()[:-10])
    model_id = uuid4()
    with database.transaction() as connection:
        models.add(
            connection,
            model_id,
            card("generator", "0" * 64),
            parent_id=shipped_id,
            path=broken,
            metrics={},
            labels=0,
            campaign_id=None,
        )
        models.promote(connection, model_id, "test", source="test")
    assert service.model() == (shipped_id, in_use)
    again = GeneratorService(service.settings, database)
    assert again.model()[0] == shipped_id


def test_missing_weights_say_what_to_do(database: Database, postgres_url: str, tmp_path: Path) -> None:
    nowhere = Settings(home=tmp_path, postgres_url=postgres_url, generator_weights=tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match="GAPSMITH_GENERATOR_WEIGHTS"):
        GeneratorService(nowhere, database).setup()
